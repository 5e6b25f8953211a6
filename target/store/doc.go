// Package store holds what a LUN's bytes live in.
//
// A [Store] is a number of bytes that can be read and written at any offset and
// flushed to its medium. Three come with the package:
//
//   - [OpenFile]: a regular file, sparse or not, or a block device, locked
//     against a second user;
//   - [NewMemory]: memory, taken only where something was written;
//   - [NewOverlay]: copy-on-write in memory over anything that can be read, so
//     that many machines start from one golden image and none changes it.
//
// What a store can do beyond that it says by implementing more: [Discarder] and
// [ZeroWriter] for thin provisioning, [Prompt] for a store that mostly answers
// without waiting, [ReadOnlyer] for one that refuses to be written, [Resizer] for
// one that can grow.
//
// A store of one's own is checked by the acceptance suite in package storetest.
package store
