# oracle.s runs instructions on the machine's own processor, as a 32-bit process.
# It reads cases from standard input and writes what became of them:
#   in:  code[32] EAX ECX EDX EBX ESP EBP ESI EDI EFLAGS window[256]
#   out: EAX ECX EDX EBX ESP EBP ESI EDI EFLAGS signal window[256]
# The code stands at 0x500000 and ends with a jump to 0x500100; its window of
# memory is at 0x600000.
.set IN, 324
.set OUT, 296

.section .cases, "awx", @progbits
code:	.fill 256, 1, 0xCC
	jmp done
	.fill 3835, 1, 0xCC

.section .window, "aw", @progbits
window:	.fill 4096, 1, 0

.bss
rec:	.skip 512
out:	.skip 512
alt:	.skip 16384
alttop:	.skip 4096
main:

.data
ss:	.long alt, 0, 16384
sa:	.long handler, 0x48000000, 0, 0, 0

.text
.globl _start
_start:
	mov $186, %eax			# sigaltstack
	mov $ss, %ebx
	xor %ecx, %ecx
	int $0x80
	mov $4, %ebx
1:	mov $174, %eax			# rt_sigaction of SIGILL to SIGSEGV
	mov $sa, %ecx
	xor %edx, %edx
	mov $8, %esi
	int $0x80
	inc %ebx
	cmp $12, %ebx
	jne 1b

next:	mov $main, %esp
	mov $rec, %ecx
	mov $IN, %edx
1:	mov $3, %eax			# read
	xor %ebx, %ebx
	int $0x80
	test %eax, %eax
	jle exit
	add %eax, %ecx
	sub %eax, %edx
	jnz 1b
	mov $rec, %esi
	mov $code, %edi
	mov $8, %ecx
	rep movsl
	mov $rec+68, %esi
	mov $window, %edi
	mov $64, %ecx
	rep movsl
	movl $0, out+36
	pushl rec+64
	popf
	mov rec+32, %eax
	mov rec+36, %ecx
	mov rec+40, %edx
	mov rec+44, %ebx
	mov rec+48, %esp
	mov rec+52, %ebp
	mov rec+56, %esi
	mov rec+60, %edi
	jmp code

done:	mov %eax, out
	mov %ecx, out+4
	mov %edx, out+8
	mov %ebx, out+12
	mov %esp, out+16
	mov %ebp, out+20
	mov %esi, out+24
	mov %edi, out+28
	mov $main, %esp
	pushf
	popl out+32
report:	cld
	mov $window, %esi
	mov $out+40, %edi
	mov $64, %ecx
	rep movsl
	mov $4, %eax			# write
	mov $1, %ebx
	mov $out, %ecx
	mov $OUT, %edx
	int $0x80
	jmp next

handler:
	mov 4(%esp), %eax
	mov %eax, out+36
	mov $main, %esp
	jmp report

exit:	mov $1, %eax
	xor %ebx, %ebx
	int $0x80
