#!/bin/bash
# tiny.sh OUT.qcow2 CACHE_DIR: the embedded default guest, from Debian's packages alone.
#
# Debian's cloud kernel, busybox, dropbear, qemu-guest-agent and a reader of NoCloud seeds, on an ext4 that grows
# with its disk, booted by syslinux (BIOS). Needs no root, no loop device and installs nothing on this machine.
# Works in the current directory, which must be empty and is left to the caller to remove.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
# shellcheck source=common.sh
. "$HERE/common.sh"

OUT=$(realpath -m "${1:?usage: tiny.sh OUT.qcow2 CACHE_DIR}")
CACHE=$(realpath -m "${2:?usage: tiny.sh OUT.qcow2 CACHE_DIR}")
MBR=/usr/lib/syslinux/mbr/mbr.bin
need_tools apt-get=apt dpkg-deb=dpkg fakeroot=fakeroot readelf=binutils strip=binutils depmod=kmod modprobe=kmod \
  cpio=cpio mkfs.fat=dosfstools mcopy=mtools sfdisk=fdisk mke2fs=e2fsprogs syslinux=syslinux \
  "$MBR=syslinux-common" qemu-img=qemu-utils
as_root_or_fakeroot "$0" "$OUT" "$CACHE"

BOOT_MIB=20
# A small file system to start with: the guest grows it to its disk at its first boot.
ROOT_MIB=48
WORK=$PWD SYSROOT=$PWD/sysroot ROOT=$PWD/root INITRD=$PWD/initrd
LIBRARIES=lib/x86_64-linux-gnu
DISK_MODULES="virtio_pci virtio_blk virtio_scsi sd_mod ext4"
# pvpanic reports a kernel panic to the hypervisor; the clock of a restored guest is read from the RTC.
GUEST_MODULES="virtio_net virtio_console virtio_balloon virtio-rng button evdev isofs vfat nls_cp437 nls_ascii sr_mod
  pvpanic-mmio pvpanic-pci rtc-cmos"

fetch() {
  local programs="dropbear-bin qemu-guest-agent e2fsprogs" kernel
  kernel=$(depends_of linux-image-cloud-amd64 | grep '^linux-image-') || die "no Debian cloud kernel is known to apt"
  say "Fetching $kernel, busybox, dropbear and qemu-guest-agent"
  mkdir -p "$SYSROOT"
  # shellcheck disable=SC2086
  unpack_packages "$SYSROOT" "$kernel" busybox-static $programs $(library_packages $programs)
  KERNEL_VERSION=${kernel#linux-image-}
  KERNEL=$SYSROOT/boot/vmlinuz-$KERNEL_VERSION
  depmod -b "$SYSROOT" "$KERNEL_VERSION"
}

needed_by() { readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p'; }

# The libraries that the programs in the image need, found by what the linker would ask for.
copy_libraries() {
  local wanted fresh library file
  mkdir -p "$ROOT/$LIBRARIES" "$ROOT/lib64"
  wanted=$(for file in "$ROOT"/usr/sbin/{dropbear,dropbearkey,qemu-ga,resize2fs}; do needed_by "$file"; done | sort -u)
  while [ -n "$wanted" ]; do
    fresh=
    for library in $wanted; do
      [ -e "$ROOT/$LIBRARIES/$library" ] && continue
      file=$(find "$SYSROOT/lib" "$SYSROOT/usr/lib" -name "$library" -print -quit)
      [ -n "$file" ] || die "no package brings the library $library"
      cp -L "$file" "$ROOT/$LIBRARIES/$library"
      fresh="$fresh $(needed_by "$ROOT/$LIBRARIES/$library")"
    done
    wanted=$fresh
  done
  ln -s ../$LIBRARIES/ld-linux-x86-64.so.2 "$ROOT/lib64/ld-linux-x86-64.so.2"
}

# module_files NAME...: paths of the modules and all they depend on, in the order to load them.
module_files() {
  local name
  for name in "$@"; do
    modprobe -d "$SYSROOT" -S "$KERNEL_VERSION" --show-depends "$name" 2>/dev/null || true # built in, or not in this kernel
  done | sed -n 's/^insmod \([^ ]*\).*/\1/p' | awk '!seen[$0]++'
}

# copy_modules INTO FILE...: numbered, so that the guest loads them with a plain glob.
copy_modules() {
  local into=$1 number=100 file; shift
  mkdir -p "$into"
  for file in "$@"; do
    strip --strip-debug -o "$into/$number-$(basename "$file")" "$file"
    number=$((number + 1))
  done
}

# Programs of our own in sbin; busybox's shell prefers its applets even so, others (init, acpid, qemu-ga) do not.
OWN_APPLETS=" busybox init poweroff reboot halt chpasswd "

install_busybox() {
  local applet
  cp "$SYSROOT/bin/busybox" "$ROOT/bin/busybox"
  for applet in $("$ROOT/bin/busybox" --list); do
    case $OWN_APPLETS in *" $applet "*) continue ;; esac
    ln -s busybox "$ROOT/bin/$applet"
  done
  ln -s ../bin/busybox "$ROOT/sbin/init"
  ln -s ../bin/busybox "$ROOT/sbin/hwclock" # where qemu-ga looks for it
  ln -s shutdown "$ROOT/sbin/poweroff"
  ln -s shutdown "$ROOT/sbin/reboot"
  ln -s shutdown "$ROOT/sbin/halt"
}

make_root() {
  say "Putting the guest's files together"
  mkdir -p "$ROOT"/{bin,dev,etc/dropbear,lib/modules,mnt,proc,root/.ssh,run,sbin,sys,tmp,usr/bin,usr/sbin,var/lib/seed,var/log}
  cp -r --no-preserve=ownership "$HERE/tiny/root/." "$ROOT/"
  cp "$HERE"/shared/* "$ROOT/usr/sbin/"
  chmod 755 "$ROOT"/etc/{init.d,acpi/PWRF,network}/* "$ROOT"/sbin/* "$ROOT"/usr/sbin/*
  chmod 1777 "$ROOT/tmp"; chmod 700 "$ROOT/root" "$ROOT/root/.ssh"; chmod 600 "$ROOT/etc/shadow"
  ln -s ../run/resolv.conf "$ROOT/etc/resolv.conf"
  cp "$SYSROOT"/usr/sbin/{dropbear,qemu-ga} "$SYSROOT/usr/bin/dropbearkey" "$SYSROOT/sbin/resize2fs" "$ROOT/usr/sbin/"
  copy_libraries
  strip --strip-unneeded "$ROOT/$LIBRARIES"/*.so* 2>/dev/null || true
  install_busybox
}

make_initrd() {
  local disk_modules other_modules
  disk_modules=$(module_files $DISK_MODULES)
  # shellcheck disable=SC2086
  other_modules=$(module_files $GUEST_MODULES | grep -vxF "$disk_modules")
  mkdir -p "$INITRD"/{bin,dev,mnt,proc,sys}
  cp "$SYSROOT/bin/busybox" "$INITRD/bin/busybox"
  install -m 755 "$HERE/tiny/init" "$INITRD/init"
  # shellcheck disable=SC2086
  copy_modules "$INITRD/modules" $disk_modules
  # shellcheck disable=SC2086
  copy_modules "$ROOT/lib/modules" $other_modules
  (cd "$INITRD" && find . | sort | cpio --quiet --create --format=newc --owner=0:0 --reproducible) | gzip -9n > "$WORK/initrd.gz"
}

make_boot_partition() {
  truncate -s ${BOOT_MIB}M boot.fat
  mkfs.fat -F 16 -n TINYBOOT -h 2048 boot.fat >/dev/null
  mcopy -i boot.fat "$KERNEL" ::vmlinuz
  mcopy -i boot.fat initrd.gz ::initrd
  mcopy -i boot.fat "$HERE/tiny/syslinux.cfg" ::syslinux.cfg
  syslinux --install boot.fat
}

# The file system starts small and may grow to 2 TiB: 4 KiB blocks, room for that many group descriptors, few inodes a
# group, and group checksums, so that growing leaves the inode tables of a thin disk unwritten.
make_root_partition() {
  mke2fs -q -t ext4 -b 4096 -N 2048 -L tinyroot -m 0 -O '^metadata_csum,uninit_bg,^64bit' \
    -E root_owner=0:0,resize=536870911 -d "$ROOT" root.ext4 ${ROOT_MIB}M >/dev/null
}

make_disk() {
  say "Writing the disk"
  make_boot_partition
  make_root_partition
  truncate -s $((1 + BOOT_MIB + ROOT_MIB + 1))M disk.raw
  printf 'label: dos\nstart=2048, size=%d, type=e, bootable\nstart=%d, size=%d, type=83\n' \
    $((BOOT_MIB * 2048)) $(((1 + BOOT_MIB) * 2048)) $((ROOT_MIB * 2048)) | sfdisk -q disk.raw
  dd if="$MBR" of=disk.raw bs=440 count=1 conv=notrunc status=none
  dd if=boot.fat of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
  dd if=root.ext4 of=disk.raw bs=1M seek=$((1 + BOOT_MIB)) conv=notrunc,sparse status=none
  to_qcow2 disk.raw "$OUT"
}

apt_open "$CACHE"
fetch
make_root
make_initrd
make_disk
say "Built: kernel $KERNEL_VERSION, $(($(stat -c %s "$OUT") / 1024)) KiB"
