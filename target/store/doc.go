// Package store holds what a LUN's bytes live in.
//
// A [Store] is a number of bytes that can be read and written at any offset and
// flushed to their medium. These come with the package:
//
//   - [OpenFile]: a regular file, sparse or not, or a block device, locked
//     against a second user, through the page cache or past it;
//   - [NewMemory]: memory, taken only where something was written;
//   - [NewOverlay]: copy-on-write in memory over anything that can be read, so
//     that many machines start from one golden image and none changes it;
//   - [NewTimed]: a limit on how long another store may take.
//
// Package nbd has one that an NBD server serves. docs/stores.md compares them.
//
// What a store can do beyond that it says by implementing more: [Discarder] and
// [ZeroWriter] for thin provisioning, [Mapper] for what takes space, [Resizer]
// for sizes that change, [DurableWriter] for single writes that must be on the
// medium, [Prompt] for a store that mostly answers without waiting, [ReadOnlyer]
// for one that refuses to be written.
//
// A store of one's own is checked by the acceptance suite in package storetest.
package store
