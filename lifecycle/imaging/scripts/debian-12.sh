#!/bin/bash
# debian-12.sh OUT.qcow2 CACHE_DIR: Debian 12 with systemd, cloud-init (NoCloud only), ssh and the guest agent.
#
# Made by mmdebstrap from the Debian mirror this machine uses; booted by syslinux from a small FAT partition that follows
# the newest kernel (BIOS). Needs neither a loop device nor, where user namespaces are allowed, root.
# Works in the current directory, which must be empty and is left to the caller to remove.
set -euo pipefail
HERE=$(dirname "$(realpath "$0")")
# shellcheck source=common.sh
. "$HERE/common.sh"

OUT=$(realpath -m "${1:?usage: debian-12.sh OUT.qcow2 CACHE_DIR}")
CACHE=$(realpath -m "${2:?usage: debian-12.sh OUT.qcow2 CACHE_DIR}")
SUITE=bookworm
KEYRING=/usr/share/keyrings/debian-archive-keyring.gpg
MBR=/usr/lib/syslinux/mbr/mbr.bin
need_tools apt-get=apt mmdebstrap=mmdebstrap fakeroot=fakeroot mkfs.fat=dosfstools mcopy=mtools sfdisk=fdisk \
  mke2fs=e2fsprogs syslinux=syslinux "$MBR=syslinux-common" qemu-img=qemu-utils "$KEYRING=debian-archive-keyring"
[ "$(id -u)" -eq 0 ] || need_tools newuidmap=uidmap

BOOT_MIB=96 # two kernels with their initial RAM disks
ROOT_MIB=1900
PACKAGES=systemd-sysv,systemd-resolved,systemd-timesyncd,dbus,udev,kmod,libpam-systemd
PACKAGES+=,linux-image-cloud-amd64,initramfs-tools,zstd,e2fsprogs,fdisk,util-linux-extra
PACKAGES+=,cloud-init,cloud-guest-utils,qemu-guest-agent,openssh-server
PACKAGES+=,iproute2,iputils-ping,netbase,ca-certificates,curl,sudo,less,nano,procps,bash-completion,apt-utils

# The archives this machine's apt takes Debian 12 from: a local mirror is used where there is one.
sources() {
  apt-get -c "$APT_DIR/apt.conf" indextargets --format '$(REPO_URI) $(CODENAME) $(COMPONENT)' \
    'Created-By: Packages' 'Origin: Debian' 2>/dev/null |
    awk -v keyring="$KEYRING" -v suite="$SUITE" '
      $3 == "main" && ($2 == suite || $2 == suite "-updates" || $2 == suite "-security") && !seen[$0]++ {
        print "deb [signed-by=" keyring "] " $1 " " $2 " main" }'
}

# The initial RAM disk gets the drivers of a virtual disk, not of every machine. Set before the kernel is installed.
configure_initramfs() {
  cat > initramfs-hook <<'END'
#!/bin/sh
set -e
mkdir -p "$1/etc/initramfs-tools/conf.d"
printf 'MODULES=list\nCOMPRESS=zstd\nRESUME=none\n' > "$1/etc/initramfs-tools/conf.d/virtual"
printf '%s\n' virtio_pci virtio_blk virtio_scsi sd_mod virtio_net > "$1/etc/initramfs-tools/modules"
END
  chmod 755 initramfs-hook
}

# A guest's apt uses the archives that this image was made from, as far as a guest can: no files of this machine, no passwords.
configure_apt() {
  cat > apt-hook <<'END'
#!/bin/sh
set -e
sed -i -e 's/^deb \[[^]]*\] /deb /' -e '/^deb https\{0,1\}:\/\/[^@]*$/!d' "$1/etc/apt/sources.list"
END
  chmod 755 apt-hook
}

# What must run inside: services on and off.
configure_services() {
  cat > services-hook <<'END'
#!/bin/sh
set -e
chroot "$1" systemctl -q enable systemd-networkd systemd-resolved ssh startup-script.service guest-ready.service follow-clock.service
chroot "$1" systemctl -q disable systemd-networkd-wait-online.service
chroot "$1" systemctl -q mask apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service
END
  chmod 755 services-hook
}

make_root() {
  local archives; archives=$(sources)
  say "Fetching and installing Debian $SUITE; this takes a minute or two"
  configure_initramfs
  configure_apt
  configure_services
  # With no archive given, mmdebstrap asks Debian's own. The services' own files must be there for the second hook.
  # shellcheck disable=SC2086
  mmdebstrap --quiet --variant=minbase --components=main --include="$PACKAGES" \
    --aptopt='Acquire::Languages "none"' --aptopt='Acquire::Retries "3"' --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/info/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    --dpkgopt='path-exclude=/usr/share/locale/*/LC_MESSAGES/*' \
    --essential-hook="$PWD/initramfs-hook \"\$1\"" \
    --customize-hook="sync-in '$PWD/overlay' /" \
    --customize-hook="$PWD/apt-hook \"\$1\"" \
    --customize-hook="$PWD/services-hook \"\$1\"" \
    "$SUITE" root.tar ${archives:+-} < <(printf '%s\n' "$archives")
}

# Our files, with the modes they shall have whatever the checkout says.
make_overlay() {
  cp -r "$HERE/debian-12/root" overlay
  mkdir -p overlay/usr/local/sbin overlay/boot/syslinux
  cp "$HERE"/shared/* overlay/usr/local/sbin/
  find overlay -type d -exec chmod 755 {} + -o -type f -exec chmod 644 {} +
  chmod 755 overlay/usr/local/sbin/* overlay/etc/kernel/*/* overlay/etc/initramfs/*/*
}

# What must differ between machines is left for the first boot.
forget_identity() {
  : > root/etc/machine-id
  rm -f root/var/lib/dbus/machine-id root/var/lib/systemd/random-seed root/etc/ssh/ssh_host_* root/etc/hostname
  ln -sf /run/systemd/resolve/stub-resolv.conf root/etc/resolv.conf
  rm -rf root/var/lib/apt/lists/* root/var/cache/apt/*.bin root/var/log/*.log root/var/log/apt
}

make_boot_partition() {
  local kernel
  kernel=$(basename "$(readlink root/vmlinuz)")
  truncate -s ${BOOT_MIB}M boot.fat
  mkfs.fat -F 16 -n SYSLINUX -h 2048 boot.fat >/dev/null
  mcopy -i boot.fat "root/boot/$kernel" ::vmlinuz
  mcopy -i boot.fat "root/boot/initrd.img-${kernel#vmlinuz-}" ::initrd.img
  mcopy -i boot.fat "$HERE/debian-12/syslinux.cfg" ::syslinux.cfg
  syslinux --install boot.fat
}

make_disk() {
  say "Writing the disk"
  make_boot_partition
  mke2fs -q -t ext4 -L root -m 1 -E root_owner=0:0 -d root root.ext4 ${ROOT_MIB}M >/dev/null
  rm -rf root
  truncate -s $((1 + BOOT_MIB + ROOT_MIB + 1))M disk.raw
  printf 'label: dos\nstart=2048, size=%d, type=e, bootable\nstart=%d, size=%d, type=83\n' \
    $((BOOT_MIB * 2048)) $(((1 + BOOT_MIB) * 2048)) $((ROOT_MIB * 2048)) | sfdisk -q disk.raw
  dd if="$MBR" of=disk.raw bs=440 count=1 conv=notrunc status=none
  dd if=boot.fat of=disk.raw bs=1M seek=1 conv=notrunc,sparse status=none
  dd if=root.ext4 of=disk.raw bs=1M seek=$((1 + BOOT_MIB)) conv=notrunc,sparse status=none
  rm -f root.ext4
  say "Compressing the image"
  to_qcow2 disk.raw "$OUT"
}

if [ ! -e root.tar ]; then # the second time is under fakeroot: mmdebstrap would refuse it
  apt_open "$CACHE"
  make_overlay
  make_root
fi
as_root_or_fakeroot "$0" "$OUT" "$CACHE"
mkdir root
tar -xpf root.tar -C root --numeric-owner
rm root.tar
forget_identity
make_disk
say "Built: $(($(stat -c %s "$OUT") / 1024 / 1024)) MiB"
