package qemu

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// Shutdown presses the machine's power button and waits until the guest has powered it off. Where the context ends first
// the VM runs on.
func (vm *VM) Shutdown(ctx context.Context) error {
	if err := vm.execute(ctx, "system_powerdown", nil); err != nil {
		return err
	}
	select {
	case <-vm.done:
		return vm.Wait()
	case <-ctx.Done():
		return fmt.Errorf("qemu: %s: the guest does not power off: %w", vm.name, ctx.Err())
	}
}

// SetLink plugs in or pulls out the cable of the machine's n-th card, counted from 0, as the guest sees it: its carrier
// changes.
func (vm *VM) SetLink(ctx context.Context, n int, up bool) error {
	return vm.execute(ctx, "set_link", map[string]any{"name": nicID(n), "up": up})
}

// ReadMemory reads size bytes of the machine's physical memory from addr, at least one.
func (vm *VM) ReadMemory(ctx context.Context, addr uint64, size int) ([]byte, error) {
	if size <= 0 {
		return nil, fmt.Errorf("qemu: %s: reading %d bytes of memory", vm.name, size) // QEMU takes it for 2^64 bytes.
	}
	dir, err := os.MkdirTemp("", "bootlun-memory-")
	if err != nil {
		return nil, fmt.Errorf("qemu: %s: reading memory: %w", vm.name, err)
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "memory")
	if err := vm.execute(ctx, "pmemsave", map[string]any{"val": addr, "size": size, "filename": file}); err != nil {
		return nil, err
	}
	b, err := os.ReadFile(file)
	if err == nil && len(b) != size {
		err = fmt.Errorf("QEMU wrote %d of %d bytes", len(b), size)
	}
	if err != nil {
		return nil, fmt.Errorf("qemu: %s: reading memory: %w", vm.name, err)
	}
	return b, nil
}

func (vm *VM) execute(ctx context.Context, command string, args any) error {
	if err := vm.QMP.Execute(ctx, command, args, nil); err != nil {
		return fmt.Errorf("qemu: %s: %w", vm.name, err)
	}
	return nil
}
