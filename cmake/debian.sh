# shellcheck shell=bash disable=SC2154
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Sourced by cmake/mingw-cmocka, cmake/debian-i386 and bench/peers/fetch, after setup.sh: how to fetch a package of
# Debian's that the machine doesn't have installed, from the archive that it uses already. Its apt configuration is
# only read, and its package database not even that; no root is needed.

# debian_work NAME DIRECTORY...: $work, in the cache's own file system: the last step is a rename, so that nobody
# ever sees half of it.
debian_work() {
    local name=$1
    shift
    mkdir -p "$aero_cache" || die "can't make $aero_cache"
    # What a run left that was killed: a day old, it is nobody's.
    find "$aero_cache" -maxdepth 1 -name ".$name.??????" -mmin +1440 -exec rm -rf {} + 2>/dev/null
    work=$(mktemp -d "$aero_cache/.$name.XXXXXX") || die "can't write to $aero_cache"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM HUP
    mkdir -p "$work"/{sources,lists/partial,archives/partial} "${@/#/$work/}" || die "can't write to $work"
}

# debian_has PREFIX FILE...: whether what was kept there is whole, as far as these files tell.
debian_has() {
    local prefix=$1 file
    shift
    for file in "$@"; do
        [ -f "$prefix/$file" ] || return 1
    done
}

# debian_keep DIRECTORY PREFIX FILE...: moves what was made to where it is looked for. Another run may have been
# quicker; then its result serves. What lacks one of the FILEs has been damaged, and makes way.
debian_keep() {
    mv -T "$1" "$2" 2>/dev/null || debian_has "${@:2}" && return
    mv -T "$2" "$work/damaged" && mv -T "$1" "$2" || debian_has "${@:2}" || die "something else is in the way: $2"
}

# entries FILE TYPE SUITE: FILE's entries of Debian itself for TYPE, deb or deb-src, and any architecture. They are
# known by suite and component; their keys and other options are kept.
entries() {
    local type=$2 suite=$3
    case $1 in
    *.sources)
        awk -v type="$type" -v suite="$suite" '
            function flush_entry() {
                if (deb && ours && main && !disabled) printf "%s\n", text
                text = ""; deb = ours = main = disabled = 0; field = ""
            }
            /^[ \t]*$/ { flush_entry(); next }
            /^#/ { next }
            /^[^ \t]/ { field = tolower($0); sub(/:.*/, "", field) }
            field == "types" { if ($0 ~ /(^|[ \t:])deb([ \t]|$)/) deb = 1; text = text "Types: " type "\n"; next }
            field == "enabled" && tolower($2) ~ /^(no|false|0|off)$/ { disabled = 1 }
            field == "architectures" { next }
            {
                for (i = 1; i <= NF; i++) {
                    if (field == "suites" && ($i == suite || $i == suite "-updates" || $i == suite "-security"))
                        ours = 1
                    if (field == "components" && $i == "main") main = 1
                }
                text = text $0 "\n"
            }
            END { flush_entry() }' "$1"
        ;;
    *.list)
        local gap='[[:space:]]+' word='[^[:space:]]+' options places
        options="(\[[^]]*\]$gap)?$word$gap"
        places="$suite(-updates|-security)?$gap($word$gap)*main($gap.*)?"
        sed -nE "s/^[[:space:]]*deb$gap($options$places)\$/$type \1/p" "$1" |
            sed -E 's/^([^]]*)\b(arch|architectures)[+-]?=[^] ]*/\1/; s/\[ *\]//'
        ;;
    esac
}

# debian_sources TYPE: fills $work/sources.
debian_sources() {
    local codename suite list
    codename=$(. /etc/os-release && printf %s "${VERSION_CODENAME-}")
    [ -n "$codename" ] || die "no VERSION_CODENAME in /etc/os-release: not a Debian release?"
    for suite in "$codename" stable oldstable testing unstable; do
        for list in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
            [ -r "$list" ] && entries "$list" "$1" "$suite" >"$work/sources/$(basename "$list")"
        done
        find "$work/sources" -type f -empty -delete
        [ -z "$(ls -A "$work/sources")" ] || return 0
    done
    die "apt has no entry for Debian $codename that a package could come from"
}

# private_apt [option...] COMMAND...: apt-get with lists and a cache of its own, for half an hour at most.
private_apt() {
    timeout --foreground -k 10 1800 apt-get -q "${apt_patience[@]}" -o Dir::Etc::sourcelist=/dev/null -o Dir::Etc::sourceparts="$work/sources" \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work" -o Dir::Cache::archives="$work/archives" \
        -o APT::Sandbox::User="$(id -un)" "$@"
}

# debian_version PACKAGE: of its source, as installed; else as apt would install it.
debian_version() {
    local version
    # shellcheck disable=SC2016
    version=$(dpkg-query -W -f '${source:Version}' "$1" 2>/dev/null)
    [ -n "$version" ] || version=$(apt-cache show --no-all-versions "$1" 2>/dev/null | sed -n 's/^Version: //p' |
        head -n 1 | sed 's/+b[0-9]*$//')
    [ -n "$version" ] || die "apt doesn't know $1, so there's no telling which version to take"
    say "$version"
}
