# shellcheck shell=bash disable=SC2034
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced by bench/run, bench/compare, bench/peers/run and its fetch, ctest/run, cmake/mingw-cmocka, cmake/debian-i386
# and cmake/wine-run: where things are, what a machine must have, and how to configure and build a preset. Defines
# functions and variables; does nothing by itself.

aero_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
aero_cache=${AERO_CACHE:-${XDG_CACHE_HOME:-${HOME:-/var/tmp}/.cache}/aero-virtio-bench}
# Where wine64 and wine32 keep their prefixes.
aero_wineprefix=${AERO_WINEPREFIX:-$aero_cache/wine}
# A relative path is meant from where the caller stands; what is started from here stands elsewhere.
[[ $aero_cache == /* ]] || aero_cache=$PWD/$aero_cache
[[ $aero_wineprefix == /* ]] || aero_wineprefix=$PWD/$aero_wineprefix
export AERO_CACHE=$aero_cache AERO_WINEPREFIX=$aero_wineprefix

# mkfs.ext4 and e2fsck live where a plain user's PATH doesn't look.
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
export PATH

say() { printf '%s\n' "$*"; }
warn() { printf '%s: %s\n' "${aero_me:-${0##*/}}" "$*" >&2; }
die() {
    warn "$1"
    exit "${2:-1}"
}

# ---- what a machine must have -------------------------------------------------------------------------------------

have() { command -v "$1" >/dev/null 2>&1; }

# A compiler may be there without its headers, or without its sanitizers' libraries: only a link tells.
compiles() {
    local compiler=$1 out status=0
    shift
    have "$compiler" || return 1
    out=$(mktemp) || return 1
    printf '%s\n' '#include <stdarg.h>' '#include <stddef.h>' '#include <setjmp.h>' '#include <stdint.h>' \
        '#include <stdio.h>' 'int main(void) { return 0; }' | "$compiler" -x c - -o "$out" "$@" 2>/dev/null || status=1
    rm -f "$out"
    return $status
}

# wine_copy: the private copy of 32-bit Wine that cmake/debian-i386 has made; if it has made none, a path that isn't
# there. Of several, that of the version which the machine has, whose C library serves it; else the newest.
wine_copy() {
    local copies=("$aero_cache"/debian-i386-wine-*) version
    if ((${#copies[@]} > 1)); then
        # shellcheck disable=SC2016
        version=$(dpkg-query -W -f '${source:Version}' wine64 2>/dev/null)
        if [ -d "$aero_cache/debian-i386-wine-$version" ]; then
            copies=("$aero_cache/debian-i386-wine-$version")
        else
            copies=("$(printf '%s\n' "${copies[@]}" | sort -V | tail -n 1)")
        fi
    fi
    say "${copies[0]}"
}

# wine_program 64|32. Debian's loaders, by their own names: its wine is a script that takes whichever there is. 32-bit
# Wine is the machine's, or else the private copy.
wine_program() {
    local candidate
    case $1 in
    64) set -- wine64 /usr/lib/wine/wine64 ;;
    32) set -- /usr/lib/wine/wine "$(wine_copy)/usr/lib/wine/wine" ;;
    esac
    for candidate in "$@"; do
        have "$candidate" && command -v "$candidate" && return 0
    done
    return 1
}

wine_server() {
    local candidate
    case $1 in
    64) set -- wineserver /usr/lib/wine/wineserver64 /usr/lib/wine/wineserver ;;
    32) set -- /usr/lib/wine/wineserver32 "$(wine_copy)/usr/lib/wine/wineserver32" ;;
    esac
    for candidate in "$@"; do
        have "$candidate" && command -v "$candidate" && return 0
    done
    return 1
}

# needs: whether the machine has the thing named. title: what people call it. packages: where Debian keeps it.
needs() {
    case $1 in
    gcc) compiles gcc ;;
    gcc-asan) compiles gcc -fsanitize=address,undefined ;;
    gcc-tsan) compiles gcc -fsanitize=thread ;;
    clang) compiles clang ;;
    clang-asan) compiles clang -fsanitize=address,undefined ;;
    clang-tsan) compiles clang -fsanitize=thread ;;
    cmake) have cmake && have ctest ;;
    ninja) have ninja ;;
    cmocka) compiles gcc -include stdarg.h -include stddef.h -include setjmp.h -include stdint.h -include cmocka.h \
        -lcmocka ;;
    pkg-config) have pkg-config ;;
    mkfs) have mkfs.ext4 && have e2fsck ;;
    gnuplot) have gnuplot ;;
    # Google Benchmark's compare.py, and scipy of the Python that Debian's packages are for.
    compare) [ -f /usr/share/benchmark/compare.py ] && /usr/bin/python3 -I -c \
        'import importlib.util, sys; sys.exit(importlib.util.find_spec("scipy") is None)' 2>/dev/null ;;
    gcc-m32) compiles gcc -m32 ;;
    mingw64) have x86_64-w64-mingw32-gcc ;;
    mingw32) have i686-w64-mingw32-gcc ;;
    dpkg-source) have dpkg-source ;;
    dpkg-deb) have apt-get && have dpkg-deb ;;
    xz) have xz ;;
    # What the private copy of 32-bit Wine lives on.
    libc-i386) [ -e /lib/ld-linux.so.2 ] ;;
    wine64) wine_program 64 >/dev/null && wine_server 64 >/dev/null ;;
    gdb) have gdb ;;
    *) return 1 ;;
    esac
}

title() {
    case $1 in
    gcc-asan | clang-asan) say "${1%-*}'s address sanitizer" ;;
    gcc-tsan | clang-tsan) say "${1%-*}'s thread sanitizer" ;;
    cmocka) say CMocka ;;
    mkfs) say mkfs.ext4 ;;
    compare) say "compare.py or scipy" ;;
    gcc-m32) say "gcc -m32" ;;
    mingw64) say x86_64-w64-mingw32-gcc ;;
    mingw32) say i686-w64-mingw32-gcc ;;
    libc-i386) say "the 32-bit C library" ;;
    wine64) say "64-bit Wine" ;;
    *) say "$1" ;;
    esac
}

packages() {
    case $1 in
    gcc) say gcc libc6-dev ;;
    gcc-asan | gcc-tsan) say gcc libc6-dev ;;
    clang) say clang libc6-dev ;;
    clang-asan | clang-tsan) say clang libc6-dev libclang-rt-dev ;;
    cmake) say cmake ;;
    ninja) say ninja-build ;;
    cmocka) say libcmocka-dev ;;
    pkg-config) say pkg-config ;;
    mkfs) say e2fsprogs ;;
    gnuplot) say gnuplot-nox ;;
    compare) say libbenchmark-tools python3 python3-scipy ;;
    gcc-m32) say gcc-multilib ;;
    mingw64) say gcc-mingw-w64-x86-64 ;;
    mingw32) say gcc-mingw-w64-i686 ;;
    dpkg-source) say dpkg-dev ;;
    dpkg-deb) say dpkg ;;
    xz) say xz-utils ;;
    libc-i386) say libc6-i386 ;;
    wine64) say wine64 wine ;;
    gdb) say gdb ;;
    esac
}

# missing NEED...: those of them that the machine lacks, on one line.
missing() {
    local need lacks=()
    for need in "$@"; do
        case " ${lacks[*]-} " in
        *" $need "*) ;; # Several presets may want it; it is missing once.
        *) needs "$need" || lacks+=("$need") ;;
        esac
    done
    say "${lacks[*]-}"
}

# packages_of NEED...: the packages of all of them, each once, on one line.
packages_of() {
    local need
    for need in "$@"; do packages "$need"; done | tr -s ' ' '\n' | awk '!seen[$0]++' | paste -sd ' '
}

# lack NEED...: the sentence about what is missing that tells what to install.
lack() {
    local need titles=() verb=is but=" and could not be installed"
    for need in "$@"; do titles+=("$(title "$need")"); done
    (($# == 1)) || verb=are
    [ -z "${AERO_NO_INSTALL-}" ] || but=
    say "$(printf '%s\n' "${titles[@]}" | paste -sd , | sed 's/,/, /g') $verb missing$but: install" \
        "$(packages_of "$@" | sed 's/ /, /g') (Debian)"
}

# An archive that doesn't answer is given up.
apt_patience=(-o Acquire::Retries=1 -o Acquire::http::Timeout=20 -o Acquire::https::Timeout=20)

# install_packages PACKAGE...: as root. Downloads end in bounded time, and only what came whole is installed: a stopped
# dpkg would leave a broken machine, so that part is left to end by itself.
install_packages() {
    local as_root=() log status=0
    local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -qy "${apt_patience[@]}" -o DPkg::Lock::Timeout=300)
    if ! have apt-get; then
        warn "nothing is installed: there is no apt-get here"
        return 1
    fi
    if [ "$(id -u)" != 0 ]; then
        if ! have sudo || ! sudo -n true 2>/dev/null; then
            warn "nothing is installed: not root, and no sudo without a password"
            return 1
        fi
        as_root=(sudo -n)
    fi
    say "installing: $*"
    log=$(mktemp) || return 1
    {
        "${as_root[@]}" timeout --foreground -k 10 300 "${apt[@]}" update &&
            "${as_root[@]}" timeout --foreground -k 10 1800 "${apt[@]}" install --no-install-recommends \
                --download-only "$@" &&
            "${as_root[@]}" "${apt[@]}" install --no-install-recommends "$@"
    } >"$log" 2>&1 </dev/null || status=1
    if ((status)); then
        tail -n 20 "$log" >&2
        warn "apt-get could not install: $*"
    fi
    rm -f "$log"
    return $status
}

# install_missing NEED...: installs what the machine lacks, and asks the archive nothing where it lacks nothing, nor
# with AERO_NO_INSTALL. Says why and returns 1 where something is missing still; the caller judges what to do without.
install_missing() {
    local lacks wanted
    read -ra lacks <<<"$(missing "$@")"
    ((${#lacks[@]})) || return 0
    [ -z "${AERO_NO_INSTALL-}" ] || return 1
    read -ra wanted <<<"$(packages_of "${lacks[@]}")"
    install_packages "${wanted[@]}" || return 1
    read -ra lacks <<<"$(missing "$@")"
    ((${#lacks[@]} == 0))
}

# ---- building a preset --------------------------------------------------------------------------------------------

# build_preset PRESET LOG [TARGET [CMAKE_OPTION...]]: everything it prints goes to LOG. The lock keeps a bench and a
# test run that were started side by side from building one directory at once.
build_preset() (
    preset=$1 log=$2 target=${3:-all}
    shift $(($# < 3 ? $# : 3))
    dir=$aero_root/build/$preset
    mkdir -p "$dir" || exit 1
    exec 9>"$aero_root/build/$preset.lock" && flock 9 || exit 1
    # A copied or moved tree brings along a cache that points back to where it came from.
    if [ -f "$dir/CMakeCache.txt" ]; then
        if ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$aero_root" "$dir/CMakeCache.txt" ||
            ! grep -qxF "CMAKE_CACHEFILE_DIR:INTERNAL=$dir" "$dir/CMakeCache.txt" ||
            ! grep -qxF "CMAKE_GENERATOR:INTERNAL=Ninja" "$dir/CMakeCache.txt"; then
            rm -rf "$dir"
            mkdir -p "$dir"
        fi
    fi
    cd "$aero_root" && exec >"$log" 2>&1 </dev/null || exit 1
    # A cache may also name a compiler or a ninja that has moved since: only a new one helps.
    cmake --preset "$preset" "$@" || { rm -rf "$dir" && cmake --preset "$preset" "$@"; } || exit 1
    cmake --build --preset "$preset" --target "$target"
)

# ---- Wine ---------------------------------------------------------------------------------------------------------

# A prefix of our own, so that nobody's Windows programs are touched, and no offer to fetch Mono and Gecko.
# No winedbg: a program that crashes under it now and then ends with status 0, and its test would pass.
wine_environment() {
    export WINEPREFIX=$aero_wineprefix$1 WINEARCH=win$1 WINEDEBUG=-all
    export WINEDLLOVERRIDES='mscoree,mshtml=;winemenubuilder.exe,winedbg.exe=d'
    unset DISPLAY WAYLAND_DISPLAY WINELOADER WINESERVER WINEDLLPATH
    local copy
    copy=$(wine_program "$1") && copy=${copy%/usr/lib/wine/wine}
    case $copy in
    "$aero_cache"/*) export LD_LIBRARY_PATH=$copy/usr/lib/i386-linux-gnu:$copy/lib/i386-linux-gnu ;;
    esac
}

# wine_start 64|32: one server for the whole run: without -p it would end with every test, and start again with the
# next. The prefix is shared by all trees of this user (it is some 700 MB), and so may the server be: each run holds a
# shared lock on the prefix, and the last one turns the server off. The server itself must not inherit the lock (8>&-).
wine_start() {
    local bits=$1 server program
    server=$(wine_server "$bits") && program=$(wine_program "$bits") && mkdir -p "$aero_wineprefix$bits" || return 1
    exec 8>"$aero_wineprefix$bits.lock" && flock -s 8 || return 1
    (
        wine_environment "$bits"
        exec 8>&- 9>"$WINEPREFIX.boot.lock" && flock 9 || exit 1 # One boots it, the others find it booted.
        "$server" -p 9>&- >/dev/null 2>&1 </dev/null
        timeout 300 "$program" cmd /c exit 0 9>&- >/dev/null 2>&1 </dev/null ||
            { warn "$program doesn't start in $WINEPREFIX: remove whichever is damaged, it is made anew" && exit 1; }
    )
}

wine_stop() {
    local bits=$1 server
    flock -n -x 8 2>/dev/null || { exec 8>&- && return 0; }
    server=$(wine_server "$bits") &&
        (wine_environment "$bits" && timeout 60 "$server" -k 8>&- >/dev/null 2>&1 </dev/null)
    exec 8>&-
}
