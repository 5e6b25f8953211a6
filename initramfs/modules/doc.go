// Package modules knows which kernel module drives which device, and loads it.
//
// An [Index] says, of one kernel, what modules exist, what they depend on and
// which devices they claim. It is made from the module files themselves (see
// package ko below this one), because Debian's kernel packages ship neither
// modules.dep nor modules.alias.
//
// The image builder narrows the whole index to what an image shall carry
// ([Index.Select], [Index.Subset]) and writes that into the image as one text
// file ([Index.Encode]). On the machine a [Loader] reads it back and does what
// modprobe and udev do elsewhere: [Loader.Load] loads a module by name or alias
// after everything it depends on, [Loader.LoadForDevices] loads what the
// machine's devices ask for.
//
// Names are the kernel's: virtio_net, with underscores. Wherever a name is
// taken, virtio-net is understood too.
package modules
