# A boot sector that reads and writes its disk by int 13h and says so on the
# first serial line. Made into boot.bin by
#   as --32 -o boot.o boot.s && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o boot.bin boot.o
	.code16
	.globl _start
_start:	cli
	xor	%ax, %ax
	mov	%ax, %ds
	mov	%ax, %es
	mov	%ax, %ss
	mov	$0x7c00, %sp
	sti
	ljmp	$0, $go
go:	mov	%dl, drive
	mov	$booted, %si
	call	puts
	movb	$0x42, %ah		# read 8 blocks from LBA 1
	mov	drive, %dl
	mov	$packet, %si
	int	$0x13
	jc	bad
	mov	$0x9000, %si		# a text is in the first of them
	call	puts
	movl	$64, packet+8		# write them from LBA 64
	movw	$0x4300, %ax
	mov	drive, %dl
	mov	$packet, %si
	int	$0x13
	jc	bad
	mov	$written, %si
	call	puts
	jmp	off
bad:	mov	$failed, %si
	call	puts
off:	mov	$0x604, %dx		# power off, on QEMU's pc
	mov	$0x2000, %ax
	out	%ax, %dx
1:	hlt
	jmp	1b
puts:	mov	$0x3f8, %dx
2:	lodsb
	or	%al, %al
	jz	3f
	out	%al, %dx
	jmp	2b
3:	ret
drive:	.byte	0
	.align	4
packet:	.byte	16, 0
	.word	8
	.word	0x9000, 0
	.quad	1
booted:	.asciz	"BOOTED\r\n"
written: .asciz	"WRITTEN\r\n"
failed:	.asciz	"FAILED\r\n"
	.org	510
	.word	0xaa55
