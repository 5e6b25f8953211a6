// Package scenario runs the whole boot path on one desk: a LAN, a boot server
// on it (the one that "bootlun serve" runs) and a virtual machine that is
// switched on with nothing but a network card.
//
//	lab := scenario.Lab{Kernel: kernel.Image, Image: image, Root: root}
//	running, err := lab.Start(ctx)
//	...
//	err = running.WaitUp(ctx)
//	running.Timeline.Print(os.Stdout)
//	err = running.Stop()
//
// A [Timeline] says how long each phase took, from power-on to the installed
// system. [Images] makes what a lab needs and keeps it between runs.
package scenario
