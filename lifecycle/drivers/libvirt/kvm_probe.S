# The sector that kvm_probe.py boots: what a guest's kernel needs of a processor, in a nutshell.
#
# Protected mode and an interrupt's return there; paging and long mode with a timer's interrupt there; then a word on the
# serial line, and a reset. Each part is something that a KVM which cannot run guests has been seen to fail at.
#
#   as --32 -o probe.o kvm_probe.S && ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o probe.bin probe.o

        .set    IDT, 0x1000                     # scratch memory below the sector
        .set    PML4, 0x2000
        .set    PDPT, 0x3000
        .set    PD, 0x4000
        .set    VECTOR, 0x30
        .set    TIMER, 8                        # where the firmware leaves the first interrupt line

        .code16
        .globl  _start
_start: cli
        cld
        xorw    %ax, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movw    $0x7c00, %sp
        movw    $IDT, %di                       # 16 KiB of zeroes: tables, page tables
        movw    $0x2000, %cx
        rep stosw
        lgdtl   gdtr
        movl    %cr0, %eax
        orb     $1, %al
        movl    %eax, %cr0
        ljmp    $0x08, $protected

        .code32
protected:
        movw    $0x10, %ax
        movw    %ax, %ds
        movw    %ax, %es
        movw    %ax, %ss
        movl    $0x7c00, %esp
        movl    $0x00080000 + handler32, IDT + VECTOR * 8
        movl    $0x00008e00, IDT + VECTOR * 8 + 4
        lidtl   idtr
        xorl    %ebx, %ebx
        int     $VECTOR
        cmpl    $1, %ebx
        jne     hang

        movl    $PDPT + 3, PML4                 # the first 2 MiB, at their own addresses
        movl    $PD + 3, PDPT
        movl    $0x83, PD
        movl    $PML4, %eax
        movl    %eax, %cr3
        movl    %cr4, %eax
        orl     $0x20, %eax                     # PAE
        movl    %eax, %cr4
        movl    $0xc0000080, %ecx               # EFER: long mode
        rdmsr
        orl     $0x100, %eax
        wrmsr
        movl    %cr0, %eax
        orl     $0x80000000, %eax               # paging
        movl    %eax, %cr0
        ljmp    $0x18, $long

handler32:
        incl    %ebx
        iret
hang:   hlt
        jmp     hang

        .code64
long:   movl    $0x00180000 + handler64, IDT + TIMER * 16
        movl    $0x00008e00, IDT + TIMER * 16 + 4
        movb    $0xfe, %al                      # the timer's interrupt alone
        outb    %al, $0x21
        xorl    %ebx, %ebx
        sti
1:      hlt
        cmpl    $2, %ebx
        jb      1b
        cli
        movl    $word, %esi
        movw    $0x3f8, %dx
2:      lodsb
        testb   %al, %al
        jz      3f
        outb    %al, %dx
        jmp     2b
3:      movb    $0xfe, %al                      # the keyboard controller resets the machine
        outb    %al, $0x64
4:      hlt
        jmp     4b

handler64:
        incl    %ebx
        movb    $0x20, %al
        outb    %al, $0x20
        iretq

word:   .asciz  "executed\n"
        .balign 8
gdt:    .quad   0
        .quad   0x00cf9a000000ffff              # 08: code, 32 bits
        .quad   0x00cf92000000ffff              # 10: data
        .quad   0x00af9a000000ffff              # 18: code, 64 bits
gdtr:   .word   . - gdt - 1
        .long   gdt
idtr:   .word   0x3ff
        .long   IDT

        .org    510
        .byte   0x55, 0xaa
