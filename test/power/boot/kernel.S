/*
 * The smallest kernel that GRUB boots as Linux: says on the serial line which one it is and its command
 * line, and resets the machine, as a kernel with panic=10 does when it finds no root file system.
 *
 * Source: Linux, Documentation/arch/x86/boot.rst, "The Real-Mode Kernel Header", "32-bit Boot Protocol".
 */
	.code32
	.text
	.globl _start
_start:
	.org 0x1f1
	.byte 1				/* setup_sects */
	.org 0x1f4
	.long (end - code32) / 16	/* syssize */
	.org 0x1fe
	.word 0xaa55			/* boot_flag */
	.byte 0xeb, 0x66		/* jump over the header */
	.ascii "HdrS"
	.word 0x020c			/* version */
	.org 0x211
	.byte 1				/* loadflags: LOADED_HIGH */
	.org 0x214
	.long 0x100000			/* code32_start */
	.org 0x22c
	.long 0x37ffffff		/* initrd_addr_max */
	.long 0x1000			/* kernel_alignment */
	.byte 1				/* relocatable_kernel */
	.org 0x238
	.long 255			/* cmdline_size */
	.org 0x258
	.quad 0x100000			/* pref_address */
	.long 0x10000			/* init_size */
	.org 0x400

/* %esi: boot_params; nothing else is set up, not even a stack. */
code32:
	call 1f
1:	/* GRUB leaves a stack, but no promise of one: this is the only use of it. */
	popl %ebx
	leal (name - 1b)(%ebx), %edi
	jmp 3f

3:	movb (%edi), %al
	incl %edi
	testb %al, %al
	jz 5f
	movb %al, %cl
4:	movw $0x3fd, %dx
	inb %dx, %al
	testb $0x20, %al
	jz 4b
	movb %cl, %al
	movw $0x3f8, %dx
	outb %al, %dx
	jmp 3b
5:	testl %esi, %esi
	jz 6f
	movl 0x228(%esi), %edi		/* cmd_line_ptr */
	xorl %esi, %esi
	jmp 3b
6:	movb $'\n', %al
	outb %al, %dx
	movb $0xfe, %al			/* the keyboard controller's reset line */
	outb %al, $0x64
7:	hlt
	jmp 7b

name:
	.ascii NAME
	.byte 0
	.balign 16
end:
