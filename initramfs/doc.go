// Package initramfs makes what a machine boots into before its disk is there:
// a kernel and a cpio archive with our init, a rescue shell and the kernel
// modules that the machine may need.
//
// [DebianKernel] obtains a kernel, or [LocalKernel] takes the user's own;
// [Build] makes the image for it. The Go programs are compiled through mkuimage
// from u-root; which kernel modules go in is decided by package modules, which
// is also what loads them on the machine. What the machine then does is package
// boot.
//
// Building needs the Go toolchain and a source tree of this module. What is
// built is kept in a cache, by content: a second build with nothing changed
// takes about a second, and equal inputs give equal bytes.
package initramfs
