# A boot sector that makes the BIOS calls of a table and writes down what came back.
#
# The table is loaded from the disk (probe.go, tableAt) to 0000:B000; its entries are
# 64 bytes (probe.go, Call): a byte that is not zero, the interrupt's number, two bytes
# of nothing, EAX, EBX, ECX, EDX, SI, DI, eight bytes of nothing, and 32 bytes that are
# put at 0000:9000, where packets and result buffers are. Data is read to and written
# from 0000:A000. The answers go to 1000:0000, 170 bytes each (probe.go, Answer). When
# all is done, the word DONE is said on the first serial port.
#
#     as --32 -o probe.o probe.asm && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o probe.bin probe.o

	.intel_syntax noprefix
	.code16
	.globl _start
	.set packet, 0x9000
	.set data, 0xA000
	.set saved, 0x7000
	.set table, 0xB000

_start:
	cli
	xor ax, ax
	mov ds, ax
	mov es, ax
	mov ss, ax
	mov sp, 0x7C00
	sti
	cld
	mov ah, 0x42
	mov si, offset address
	int 0x13
	jc failed
	mov bp, table
	mov word ptr [saved], 0

next:
	cmp byte ptr [bp], 0
	je done
	mov al, [bp + 1]
	mov [call + 1], al
	mov ax, 0xCCCC			# what a call does not write stays this
	mov di, packet
	mov cx, 64
	rep stosw
	mov di, data
	mov cx, 512
	rep stosw
	lea si, [bp + 32]
	mov di, packet
	mov cx, 16
	rep movsw

	push bp
	mov eax, [bp + 4]
	mov ebx, [bp + 8]
	mov ecx, [bp + 12]
	mov edx, [bp + 16]
	mov si, [bp + 20]
	mov di, [bp + 22]
	push 0x0202
	popf
call:	int 0x13
	pushf
	push es
	push ds
	push di
	mov bp, 0
	mov ds, bp
	mov di, 0x1000
	mov es, di
	mov di, [saved]
	cld
	stosd				# EAX EBX ECX EDX SI DI ES DS flags
	mov eax, ebx
	stosd
	mov eax, ecx
	stosd
	mov eax, edx
	stosd
	mov ax, si
	stosw
	pop ax
	stosw
	pop bx
	pop ax
	stosw
	mov ax, bx
	stosw
	pop ax
	stosw
	mov si, packet
	mov cx, 64
	rep movsw
	mov si, data			# the data: its first 14 bytes, and a sum
	mov cx, 7
	rep movsw
	mov si, data
	mov cx, 512
	xor dx, dx
sum:	lodsw
	rol dx, 1
	add dx, ax
	loop sum
	mov ax, dx
	stosw
	mov [saved], di
	xor ax, ax
	mov es, ax
	pop bp
	add bp, 64
	jmp next

done:	mov si, offset text_done
	jmp say
failed:	mov si, offset text_failed
say:	lodsb
	test al, al
	jz halt
	mov bl, al
	mov dx, 0x3FD
busy:	in al, dx
	test al, 0x20
	jz busy
	mov dx, 0x3F8
	mov al, bl
	out dx, al
	jmp say
halt:	cli
	hlt
	jmp halt

text_done:
	.asciz "\r\nBIOS calls: DONE\r\n"
text_failed:
	.asciz "\r\nBIOS calls: the table cannot be read\r\n"

	.balign 4
address: .byte 16, 0
	.word 20			# sectors: tableSectors of probe.go
	.word table, 0
	.long 100, 0			# tableAt of probe.go
