#!/bin/sh
# Installs, upgrades or removes Driftline's edge. Nothing is fetched: all that it needs lies next to this file.
set -eu
umask 022

usage() {
  cat <<'TEXT'
sudo ./install.sh                 installs, or upgrades and keeps data and settings
sudo ./install.sh --uninstall     removes program, unit and user; leaves /var/lib/driftline and /etc/driftline
     ./install.sh --prefix ROOT   puts all files below the folder ROOT; makes no user and starts nothing
     --python PROGRAM             the Python to take; without it the newest one that wheels are here for
     --no-start                   neither enables nor starts the service
TEXT
}

say() { printf 'driftline: %s\n' "$*"; }
fail() { printf 'driftline: %s\n' "$*" >&2; exit 1; }

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
prefix='' python='' start=yes action=install
unit=driftline-edge.service
joins=driftline-join.service
user=driftline

arguments() {
  while [ $# -gt 0 ]; do
    case $1 in
      --uninstall) action=uninstall ;;
      --prefix) [ $# -ge 2 ] || fail "--prefix: found nothing, expected a folder"; prefix=$2; shift ;;
      --python) [ $# -ge 2 ] || fail "--python: found nothing, expected a program"; python=$2; shift ;;
      --no-start) start=no ;;
      -h | --help) usage; exit 0 ;;
      *) usage >&2; fail "found $1, expected one of these options" ;;
    esac
    shift
  done
  case $prefix in
    '') ;;
    /) prefix='' ;;
    /*) prefix=${prefix%/} ;;
    *) prefix=$PWD/${prefix%/} ;;
  esac
  opt=$prefix/opt/driftline
  etc=$prefix/etc/driftline
  data=$prefix/var/lib/driftline
  units=$prefix/etc/systemd/system
  link=$prefix/usr/local/bin/driftline
}

is_system() { [ -z "$prefix" ]; }
# The folder that sd_booted(3) looks for.
systemd_runs() { is_system && [ -d /run/systemd/system ]; }

check_machine() {
  [ "$(uname -s)" = Linux ] || fail "found $(uname -s), expected Linux"
  ! is_system || [ "$(id -u)" = 0 ] || fail "found user $(id -un), expected root: sudo $0"
  [ "$(uname -m)" = "$MACHINE" ] || fail "found a machine of $(uname -m), expected $MACHINE: take the other archive"
  ! is_system || command -v systemctl >/dev/null || fail "found no systemctl, expected a system with systemd"
}

# The archive came by a card or a network; a file that is damaged or missing is found before anything changes.
check_archive() {
  (cd "$here" && sha256sum --check --quiet --strict SHA256SUMS) || fail "the archive is damaged or incomplete: copy it again"
}

version_of() {
  # A 64-bit kernel may run a 32-bit system, for which no wheel is here.
  "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2] if sys.maxsize > 2**32 else "32-bit")' 2>/dev/null || :
}

choose_python() {
  if [ -n "$python" ]; then
    version=$(version_of "$python")
    [ -f "$here/requirements-$version.txt" ] || fail "$python: found ${version:-no Python}, expected 64-bit Python, one of: $PYTHONS"
    return
  fi
  for version in $PYTHONS; do
    for python in "/usr/bin/python$version" "python$version"; do
      [ "$(version_of "$python")" != "$version" ] || return 0
    done
  done
  fail "found no 64-bit Python, expected one of: $PYTHONS. On Debian or Raspberry Pi OS: sudo apt-get install python3"
}

check_venv() {
  # --without-pip: Debian's python3 can do that much, also where the package python3-venv is missing.
  "$python" -c 'import venv' 2>/dev/null || fail "$python makes no virtual environment. On Debian or Raspberry Pi OS: sudo apt-get install python3-venv"
}

check_space() {
  mkdir -p "$opt"
  free=$(df -Pk "$opt" | awk 'NR == 2 { print $4 }')
  [ "$free" -ge "$KILOBYTES" ] || fail "found $((free / 1024)) MB free for $opt, expected $((KILOBYTES / 1024)) MB"
}

make_user() {
  is_system || return 0
  id "$user" >/dev/null 2>&1 ||
    useradd --system --user-group --no-create-home --home-dir /var/lib/driftline --shell /usr/sbin/nologin "$user"
}

# Whether a file on the boot partition names a fleet that this device has not joined yet, or it has joined one.
joins_fleet() { [ -e "$data/fleet/joined.json" ] || grep -qs '^DRIFTLINE_JOIN_URL=.' "$prefix/boot/firmware/driftline.env" "$prefix/boot/driftline.env"; }

own() { if is_system; then chown "$@"; fi; }

# What is there already is the owner's and stays.
make_settings() {
  mkdir -p "$etc"
  if [ ! -d "$etc/streams" ] && ! joins_fleet; then
    cp -R "$here/streams" "$etc/streams.part"
    mv "$etc/streams.part" "$etc/streams"
  fi
  # A device of a fleet has its definitions from the cloud, and those of this folder would count for more.
  mkdir -p "$etc/streams"
  [ -f "$etc/edge.env" ] || cp "$here/edge.env" "$etc/edge.env"
  chmod 0640 "$etc/edge.env"
  own "root:$user" "$etc/edge.env"
  mkdir -p "$etc/secrets"
  chmod 0750 "$etc/secrets"
  token=$etc/secrets/driftline_token
  if [ ! -s "$token" ]; then
    (umask 077 && "$python" -c 'import secrets; print(secrets.token_urlsafe(32), end="")' > "$token.part")
    mv "$token.part" "$token"
  fi
  chmod 0640 "$token"
  own -R "root:$user" "$etc/secrets"
}

make_data() {
  mkdir -p "$data"
  chmod 0750 "$data"
  # After an uninstallation the user may have another number.
  own -R "$user:$user" "$data"
}

# A release has a folder of its own, so the one that runs is not touched.
choose_release() {
  fingerprint=$(sha256sum "$here/SHA256SUMS" | cut -c 1-64)
  release=$VERSION
  if [ -e "$opt/$release/.complete" ] && [ "$(cat "$opt/$release/.complete")" != "$fingerprint" ]; then
    release=$VERSION-$(printf %s "$fingerprint" | cut -c 1-8)
  fi
  former=$(readlink "$opt/current" 2>/dev/null || :)
}

is_complete() {
  [ -e "$opt/$release/.complete" ] && [ "$(version_of "$opt/$release/bin/python")" = "$version" ]
}

make_release() {
  if is_complete; then
    say "$VERSION is in $opt/$release already"
    return
  fi
  say "installs $VERSION into $opt/$release with Python $version, which takes a few minutes on a Pi"
  rm -rf "${opt:?}/$release"
  trap 'rm -rf "${opt:?}/$release"' EXIT
  "$python" -m venv --without-pip "$opt/$release"
  for pip in "$here"/wheels/pip-*.whl; do :; done
  # Without settings of the system or the user, which may name an index; pip runs from its wheel and is not installed.
  "$opt/$release/bin/python" -I "$pip/pip" --isolated --quiet --disable-pip-version-check --no-cache-dir \
    install --no-index --find-links "$here/wheels" --no-deps --no-warn-script-location -r "$here/requirements-$version.txt" ||
    fail "the packages could not be installed; the reason is above"
  prune "$opt/$release/lib"
  mkdir -p "$opt/$release/share"
  cp -R "$here/install.sh" "$here/driftline" "$here/release" "$here/$unit" "$here/$joins" "$here/join" "$here/edge.env" "$here/streams" "$here/LICENSE" "$here/README" "$opt/$release/share/"
  # A copy by way of a card or a stick may have lost it.
  chmod 0755 "$opt/$release/share/driftline" "$opt/$release/share/join" "$opt/$release/share/install.sh"
  "$opt/$release/bin/python" -c 'import driftline_cli.__main__, driftline_edge.app' || fail "the new version can't be started; the reason is above"
  printf %s "$fingerprint" > "$opt/$release/.complete"
  sync
  trap - EXIT
}

# As the container images do: tests, sources, and what Arrow and AWS's library have for others.
prune() {
  find "$1" -type d -name tests -path '*/site-packages/*' -prune -exec rm -rf {} +
  find "$1" -type f \( -name '*.pyx' -o -name '*.pxd' -o -name '*.pxi' -o -name '*.h' -o -name '*.a' \) -delete
  find "$1" -path '*/pyarrow/*' \( -name '*flight*' -o -name '*s3*' -o -name 'libarrow_python*.so' -o -name 'libarrow_python*.so.*.*' \) -delete
  find "$1" -path '*/botocore/data/*' -prune -type d ! -name s3 ! -name sqs ! -name sts -exec rm -rf {} +
}

# In one step each: there is no moment without a release, a unit or a command.
point_to() {
  ln -sfn "$1" "$opt/current.part"
  mv -fT "$opt/current.part" "$opt/current"
  mkdir -p "$units" "${link%/*}"
  for file in "$joins" "$unit"; do
    # A former release that is gone back to may lack one.
    [ -e "$opt/current/share/$file" ] || { rm -f "$units/$file"; continue; }
    cp "$opt/current/share/$file" "$units/$file.part"
    mv -f "$units/$file.part" "$units/$file"
  done
  ln -sfn /opt/driftline/current/share/driftline "$link.part"
  mv -fT "$link.part" "$link"
}

# With Type=notify it returns when the edge is ready, or has failed.
restart() {
  systemctl daemon-reload && systemctl enable --quiet "$unit" || return
  [ ! -e "$units/$joins" ] || systemctl enable --quiet "$joins" || return
  systemctl restart "$unit"
}

# Joining may take as long as there is no network, and the edge waits for it.
is_to_join() { [ -x "$opt/current/share/join" ] && ! "$opt/current/share/join" --pending; }

switch() {
  point_to "$release"
  if [ "$start" = no ] || ! systemd_runs; then
    say "installed; start it with: systemctl enable --now $unit"
    return
  fi
  if is_to_join; then
    systemctl daemon-reload && systemctl enable --quiet "$unit" "$joins" && systemctl restart --no-block "$joins" "$unit"
    say "joins the fleet and starts; see: journalctl -u $joins -f"
    return
  fi
  restart && return
  systemctl status --no-pager --lines=20 "$unit" >&2 || :
  if [ -z "$former" ] || [ "$former" = "$release" ] || [ ! -e "$opt/$former/.complete" ]; then
    fail "$VERSION is installed and does not start; the reason is above, and in: journalctl -u $unit"
  fi
  point_to "$former"
  restart || fail "neither $VERSION nor the former $former starts; see: journalctl -u $unit"
  fail "$VERSION does not start, so the former $former goes on; see: journalctl -u $unit"
}

# The former release stays, for going back to it.
forget_older() {
  [ "$former" != "$release" ] || return 0
  for folder in "$opt"/*/; do
    name=$(basename "$folder")
    case $name in
      current | "$release" | "$former") ;;
      *) rm -rf "$folder" ;;
    esac
  done
}

install_all() {
  # shellcheck source=/dev/null
  . "$here/release"
  check_machine
  check_archive
  choose_python
  check_venv
  choose_release
  is_complete || check_space
  make_release
  make_user
  make_settings
  make_data
  switch
  forget_older
  say "$VERSION is ready: program $opt/current, settings $etc, data $data"
}

uninstall() {
  ! is_system || [ "$(id -u)" = 0 ] || fail "found user $(id -un), expected root: sudo $0"
  if systemd_runs && [ -e "$units/$unit" ]; then systemctl disable --quiet --now "$unit"; fi
  if systemd_runs && [ -e "$units/$joins" ]; then systemctl disable --quiet --now "$joins"; fi
  for file in "$unit" "$joins"; do rm -f "$units/$file" "$units/multi-user.target.wants/$file"; done
  if systemd_runs; then systemctl daemon-reload; fi
  [ "$(readlink "$link" 2>/dev/null)" != /opt/driftline/current/share/driftline ] || rm -f "$link"
  rm -rf "$opt"
  if is_system && id "$user" >/dev/null 2>&1; then userdel "$user"; fi
  say "removed; $data and $etc are left: they are yours"
}

main() {
  arguments "$@"
  case $action in
    install) install_all ;;
    uninstall) uninstall ;;
  esac
  exit 0
}

# Read to its end before it runs, since an installed copy may remove itself.
main "$@"
