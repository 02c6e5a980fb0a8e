# Sourced by the image scripts: messages, the check of host tools, and Debian packages without root.
# shellcheck shell=bash
#
# Nothing is installed on this machine. Packages come through apt, with lists and a cache of our own, so that the
# machine's package state is neither needed nor touched; apt verifies signatures and checksums as it always does.
set -euo pipefail
export LC_ALL=C PATH="$PATH:/usr/sbin:/sbin"
umask 022

EXIT_MISSING_TOOLS=3

say() { printf '%s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_tools COMMAND=PACKAGE...: names every missing one at once, with the command that brings them.
need_tools() {
  local pair missing=()
  for pair in "$@"; do
    case $pair in
      /*) [ -e "${pair%%=*}" ] || missing+=("${pair#*=}") ;;
      *) command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}") ;;
    esac
  done
  [ ${#missing[@]} -eq 0 ] && return 0
  printf 'error: missing on this machine: %s\n' "$(printf '%s\n' "${missing[@]}" | sort -u | paste -sd' ')" >&2
  printf 'error: apt-get install --no-install-recommends %s\n' "$(printf '%s\n' "${missing[@]}" | sort -u | paste -sd' ')" >&2
  exit $EXIT_MISSING_TOOLS
}

# as_root_or_fakeroot SCRIPT ARGS...: files of the image belong to root, whoever builds it.
as_root_or_fakeroot() {
  [ "$(id -u)" -eq 0 ] || [ -n "${FAKEROOTKEY:-}" ] || exec fakeroot -- bash "$@"
}

# apt_open CACHE_DIR: package lists of our own, refreshed at most every twelve hours.
apt_open() {
  APT_DIR=$1/apt DEB_DIR=$1/packages
  mkdir -p "$APT_DIR/state/lists/partial" "$APT_DIR/cache/archives/partial" "$DEB_DIR"
  # Read after the machine's own settings: no hook of this machine runs, and the index is kept between calls. The cache
  # may lie where apt's unprivileged helper cannot go, so it is not asked for.
  cat > "$APT_DIR/apt.conf" <<END
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
Dir::State "$APT_DIR/state";
Dir::State::status "/var/lib/dpkg/status";
Dir::Cache "$APT_DIR/cache";
Dir::Cache::pkgcache "pkgcache.bin";
Dir::Cache::srcpkgcache "srcpkgcache.bin";
Acquire::Languages "none";
Acquire::Retries "3";
APT::Sandbox::User "root";
END
  if [ -z "$(find "$APT_DIR/updated" -mmin -720 2>/dev/null)" ]; then
    say "Reading Debian's package lists"
    # A third party's broken repository is no reason to stop: what is missing shows when a package is asked for.
    apt-get -c "$APT_DIR/apt.conf" -qq update || say "warning: not every package list could be read"
    touch "$APT_DIR/updated"
  fi
}

# depends_of PACKAGE...: names of direct dependencies (the first alternative only).
depends_of() {
  apt-cache -c "$APT_DIR/apt.conf" depends --no-recommends --no-suggests --no-conflicts --no-breaks --no-replaces \
    --no-enhances "$@" | sed -n 's/^  *\(Pre\)\{0,1\}Depends: \([^<].*\)$/\2/p' | sort -u
}

# library_packages PACKAGE...: the library packages these need, directly or through one another.
library_packages() {
  local found=" " fresh package next="$*"
  while [ -n "$next" ]; do
    fresh=
    # shellcheck disable=SC2086
    for package in $(depends_of $next | grep -E '^(lib|zlib)'); do
      case $found in *" $package "*) continue ;; esac
      found="$found$package " fresh="$fresh $package"
    done
    next=$fresh
  done
  printf '%s\n' "$found"
}

# deb_files PACKAGE...: the file names apt gives their current versions.
deb_files() {
  apt-cache -c "$APT_DIR/apt.conf" show --no-all-versions "$@" | awk '
    /^Package: / { name = $2 } /^Version: / { version = $2; gsub(":", "%3a", version) } /^Architecture: / { arch = $2 }
    /^$/ { print name "_" version "_" arch ".deb" }'
}

# unpack_packages DIRECTORY PACKAGE...: download what the cache lacks and unpack everything into DIRECTORY.
unpack_packages() {
  local into=$1 file; shift
  (cd "$DEB_DIR" && apt-get -c "$APT_DIR/apt.conf" -qq download "$@") || die "apt could not download: $*"
  for file in $(deb_files "$@"); do dpkg-deb -x "$DEB_DIR/$file" "$into"; done
}

# to_qcow2 RAW OUT: compressed; qemu-img leaves zeros out.
to_qcow2() {
  qemu-img convert -q -O qcow2 -c -o compression_type=zstd "$1" "$2"
}
