// Package x86 is a processor: an interpreter of the instructions of a 386 and of
// those of the 486 and Pentium that boot loaders use, for running what stands in
// a boot sector.
//
// A [CPU] has its memory inside and a [Bus] around it, which serves ports, HLT and
// the one instruction that no processor has: 0F 3F n, by which firmware in
// read-only memory calls Go. [CPU.Run] executes until the bus, the context, the
// limit of steps or an [UnsupportedError] ends it.
//
// How it works, from the outside in:
//
//   - cpu.go runs blocks. block.go decodes a run of instructions once and keeps
//     it until somebody writes to where it came from. A block in a cache costs an
//     indirect call for each instruction.
//   - copyloop.go recognises loops that copy or fill memory, and does them at once.
//   - decode.go reads an instruction into an inst; table.go and controltable.go
//     are the opcode maps, in Intel's notation for operands, which also serve
//     disasm.go.
//   - arith.go, shift.go, bits.go, move.go, string.go and so on are the
//     instructions, written once for all operand sizes. String instructions
//     move whole stretches where nothing watches the memory.
//   - flags.go keeps results and works out flags when somebody asks.
//   - segment.go, fault.go and branch.go are segmentation, exceptions and far
//     transfers. A fault is a panic inside the package, caught in cpu.go; an
//     instruction changes the processor only when it can no longer fail.
//
// The instructions are tested against a real processor: see instructions_test.go.
//
// # Limits
//
// Everything runs at privilege level 0. Paging, virtual-8086 mode, less privileged
// code, task switches, single stepping, hardware breakpoints, model-specific
// registers and the coprocessor's arithmetic are not here. Who uses one of them
// gets an UnsupportedError, never a wrong result.
package x86
