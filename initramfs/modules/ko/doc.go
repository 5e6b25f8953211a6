// Package ko reads kernel module files (.ko, plain or compressed) and the
// folder they are installed in, and makes a modules.Index of it. It is apart
// from package modules so that a machine that only loads modules does not
// carry the decompressors.
package ko
