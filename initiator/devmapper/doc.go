// Package devmapper makes Linux's mapped block devices: enough of device-mapper's ioctls to put several paths to one disk under
// one device, to see how the paths are, and to give the disk's partitions devices of their own.
//
//	m, err := devmapper.Open("/dev/mapper/control")
//	device, err := m.Create("root", "bootlun-naa.6001405…", devmapper.Multipath(sectors, "", [][]string{{"8:0", "8:16"}}))
//	paths, err := m.Paths("root")
//	err = m.Message("root", "reinstate_path 8:0")
//
// The kernel needs module dm_mod, and dm_multipath with dm_service_time for paths. The package loads no modules.
package devmapper
