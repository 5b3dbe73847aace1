#!/bin/sh
# Usage: scripts/firmware.sh [PACKAGE [OUTPUT]]
#
# Builds the Go command PACKAGE (./cmd/parley) as OUTPUT-armv7 and OUTPUT-arm64 (dist/parley): fully static, and the same bytes
# from the same sources wherever it is built. musl, alsa-lib and opus come from Debian's own packages, in the versions and
# with the hashes named here; they are built once and kept under the hash of this recipe, by default in
# ~/.cache/parley/firmware. docs/firmware.md tells why each step is as it is.
set -eu
cd "$(dirname "$0")/.."

suite=bookworm
musl=1.2.3-1
alsa=1.2.8-1
opus=1.3.1-3
pins='
3a9dbb8ae66716f117dce87558fb47a161db0eebf0700cc6bf84ef6871ce7d38  musl-dev_1.2.3-1_armhf.deb
55c2ca4bc3041c8ed8ac7dc3ef6080d9551a21650568b2fd7610b59eaf98a4f4  musl-dev_1.2.3-1_arm64.deb
1ab01b74e33425ca99c2e36c0844fd6888273193bd898240fe8f93accbcbf347  alsa-lib_1.2.8.orig.tar.bz2
58761e6731656727c8463e9019df879c8dccaabc07bd47a1abc8846aecae0b2a  alsa-lib_1.2.8-1.debian.tar.xz
65b58e1e25b2a114157014736a3d9dfeaad8d41be1c8179866f144a2fb44ff9d  opus_1.3.1.orig.tar.gz
f4a145f0d5b9140106396fc0b0c515b1c3abd59f2aa5fb62b36b69886aa411bc  opus_1.3.1-3.debian.tar.xz
'
limit=12000000 # bytes

# What nobody calls is left out when linking, function by function; nobody unwinds C.
lean="-ffunction-sections -fdata-sections -fno-unwind-tables -fno-asynchronous-unwind-tables"

package=${1:-./cmd/parley}
output=${2:-dist/parley}

say() { echo "firmware: $*"; }
die() { say "$*" >&2; exit 1; }

# facts ARCH sets what is particular to one of the two machines.
facts() {
	case $1 in
	armv7) debian=armhf triple=arm-linux-gnueabihf musltriple=arm-linux-musleabihf goarch=arm ;;
	arm64) debian=arm64 triple=aarch64-linux-gnu musltriple=aarch64-linux-musl goarch=arm64 ;;
	esac
}

# fetch brings the pinned files into $cache/src, from the mirror that this machine's apt uses, with a sources list and
# package lists of our own: the machine's own apt is left as it is and learns of no other architecture.
fetch() {
	mkdir -p "$cache/src"
	if (cd "$cache/src" && echo "$pins" | sed '/^$/d' | sha256sum --quiet -c -) >/dev/null 2>&1; then return; fi
	say "fetching musl $musl, alsa-lib $alsa, opus $opus"
	apt=$cache/apt
	rm -rf "$apt"
	mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
	targets=$(apt-get indextargets --format '$(ORIGIN) $(LABEL) $(COMPONENT) $(REPO_URI)' 'Created-By: Packages')
	mirror=$(echo "$targets" | sed -n 's/^Debian Debian main //p' | head -n 1)
	[ -n "$mirror" ] || die "apt knows no Debian mirror yet: as root, type: apt-get update"
	signed=
	keyring=/usr/share/keyrings/debian-archive-keyring.gpg
	[ ! -e $keyring ] || signed=" signed-by=$keyring"
	printf 'deb [arch=armhf,arm64%s] %s %s main\ndeb-src [%s] %s %s main\n' \
		"$signed" "$mirror" $suite "${signed# }" "$mirror" $suite | sed 's/ \[\]//' >"$apt/sources.list"
	own() {
		apt-get -qq -o Dir::Etc::sourcelist="$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null \
			-o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
			-o APT::Architectures="$(dpkg --print-architecture),armhf,arm64" -o APT::Sandbox::User= \
			-o Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false -o Acquire::Languages=none -o Acquire::Retries=3 \
			-o APT::Update::Post-Invoke-Success= -o DPkg::Post-Invoke= "$@" >"$apt/log" 2>&1 ||
			{ cat "$apt/log" >&2; die "apt-get $* failed; if the mirror no longer has these versions, change the pins in $0"; }
	}
	own update
	(cd "$cache/src" &&
		own --download-only source "alsa-lib=$alsa" "opus=$opus" &&
		own download "musl-dev:armhf=$musl" "musl-dev:arm64=$musl")
	rm -rf "$apt"
	(cd "$cache/src" && echo "$pins" | sed '/^$/d' | sha256sum --quiet -c -) || die "what was fetched is not what is pinned"
}

# compiler DIR writes DIR/cc: Debian's cross compiler with musl in glibc's place.
compiler() {
	dir=$1
	mkdir -p "$dir/unpack"
	dpkg-deb --fsys-tarfile "$cache/src/musl-dev_${musl}_$debian.deb" | tar -x -C "$dir/unpack"
	mv "$dir/unpack/usr/include/$musltriple" "$dir/include"
	mv "$dir/unpack/usr/lib/$musltriple" "$dir/lib"
	rm -rf "$dir/unpack"
	for h in linux asm asm-generic mtd; do ln -s "/usr/$triple/include/$h" "$dir/include/$h"; done
	sed -e "s|/usr/include/$musltriple|$dir/include|g" -e "s|/usr/lib/$musltriple|$dir/lib|g" \
		"$dir/lib/musl-gcc.specs" >"$dir/musl.specs"
	printf '#!/bin/sh\nexec %s-gcc "$@" -specs "%s/musl.specs"\n' "$triple" "$dir" >"$dir/cc"
	chmod +x "$dir/cc"
}

# library DIR NAME TARBALL DEBIAN CONFIGURE-ARGUMENT...
library() {
	dir=$1 name=$2 tarball=$3 patches=$4
	shift 4
	say "building $name for $arch"
	work=$dir/work/$name
	mkdir -p "$work"
	tar -x -C "$work" --strip-components=1 -f "$cache/src/$tarball"
	tar -x -C "$work" -f "$cache/src/$patches"
	(
		cd "$work"
		exec >"$dir/$name.log" 2>&1
		grep -v '^#' debian/patches/series | while read -r p; do patch -p1 <"debian/patches/$p"; done
		./configure --host="$triple" --prefix="$dir" --enable-static --disable-shared --disable-dependency-tracking \
			CC="$dir/cc" CFLAGS="-O2 -g0 $lean -ffile-prefix-map=$work=." "$@"
		make -j2 V=1
		make install
	) || { tail -n 30 "$dir/$name.log" >&2; die "$name for $arch could not be built; all of it: $dir/$name.log"; }
}

# sysroot ARCH makes $cache/ARCH, unless it is there.
sysroot() {
	arch=$1
	facts "$arch"
	dir=$cache/$arch
	[ ! -e "$dir/complete" ] || return 0
	rm -rf "$dir"
	compiler "$dir"
	library "$dir" opus "opus_${opus%-*}.orig.tar.gz" "opus_$opus.debian.tar.xz" --disable-doc --disable-extra-programs
	library "$dir" alsa-lib "alsa-lib_${alsa%-*}.orig.tar.bz2" "alsa-lib_$alsa.debian.tar.xz" \
		--with-libdl=no --with-versioned=no --with-configdir=/usr/share/alsa --with-plugindir=/usr/lib/alsa-lib \
		--with-pcm-plugins=copy,linear,route,rate,lfloat,plug,null,file --with-ctl-plugins=none --disable-mixer \
		--disable-python --disable-ucm --disable-topology --disable-seq --disable-rawmidi --disable-hwdep --disable-alisp
	rm -rf "$dir/work" "$dir/share"
	touch "$dir/complete"
}

# From here on nothing matters to the sysroots.

# Of miniaudio: ALSA, linked in; no file formats, no engine. Threaded jumps make 35 kB of its tables of channel names.
miniaudio="-DMA_NO_RUNTIME_LINKING -DMA_ENABLE_ONLY_SPECIFIC_BACKENDS -DMA_ENABLE_ALSA -DMA_ENABLE_NULL -DMA_NO_DECODING
-DMA_NO_ENCODING -DMA_NO_GENERATION -DMA_NO_RESOURCE_MANAGER -DMA_NO_NODE_GRAPH -DMA_NO_ENGINE -fno-thread-jumps"
# netgo, osusergo: names are looked up without libc; nolibopusfile: hraban/opus without its file reader; nethttpomithttp2: the
# health pages do not need HTTP/2, which is 0.3 MB.
tags=netgo,osusergo,nolibopusfile,nethttpomithttp2

# Functions are not inlined but in what carries sound and in what that stands on: it saves 1 MB, and nothing else here is in a hurry.
lean_go="-gcflags=all=-l"
for hot in runtime runtime/... internal/... sync/... math math/bits math/rand/... time crypto/aes crypto/cipher crypto/hmac crypto/sha1 \
	crypto/internal/fips140/aes/... crypto/internal/fips140/hmac crypto/internal/fips140/subtle crypto/internal/fips140/alias \
	crypto/internal/fips140/edwards25519/... crypto/internal/fips140/sha256 crypto/internal/fips140/sha512 golang.org/x/sys/unix github.com/pion/rtp github.com/pion/srtp/... \
	parley/mixer parley/audio parley/audio/... parley/sip/rtp parley/sip/jitter; do
	lean_go="$lean_go -gcflags=$hot="
done

# What others' code brings that this program never uses, left out: docs/firmware.md.
standins=$(scripts/lean.sh)

# build ARCH makes $output-ARCH.
build() {
	arch=$1
	facts "$arch"
	dir=$cache/$arch
	say "building $output-$arch"
	rm -f "$output-$arch.new.$$"
	page=16384 # there are arm64 kernels with such pages
	[ "$arch" != armv7 ] || page=4096
	env GOOS=linux GOARCH=$goarch GOARM=7 GOARM64=v8.0 CGO_ENABLED=1 GOFLAGS=-buildvcs=false CC="$dir/cc" \
		PKG_CONFIG_LIBDIR="$dir/lib/pkgconfig" PKG_CONFIG_PATH= \
		CGO_CFLAGS="-O2 -g0 $lean $(echo $miniaudio)" \
		CGO_LDFLAGS="-O2 -L$dir/lib -lasound -lpthread -lm" \
		go build $standins -trimpath -tags $tags $lean_go \
		-ldflags "-s -w -buildid= -linkmode external -extldflags '-static -Wl,--gc-sections,--build-id=none,-z,max-page-size=$page' -X main.version=${VERSION:-unknown} -X main.built=${BUILT:-}" \
		-o "$output-$arch.new.$$" "$package"
	verify "$output-$arch.new.$$"
	mv -f "$output-$arch.new.$$" "$output-$arch"
}

# Functions by which it is seen that something large has come in, and what: docs/firmware.md, "Its size".
unwanted='
text/template.New                 html/template or text/template: 2.1 MB
encoding/gob.                     encoding/gob
regexp.Compile                    regexp: 0.2 MB
net/http.(*Transport).RoundTrip   the client of net/http (http.Client, http.Get): 0.15 MB
github.com/gorilla/websocket.     WebSocket: 0.2 MB
encoding/xml.                     encoding/xml
'

# verify FILE fails, and removes FILE, unless it is static, small enough and without what is unwanted.
verify() {
	kind=$(file -b "$1")
	size=$(stat -c %s "$1")
	bad=
	case $kind in *'statically linked'*) ;; *) bad="not static: $kind" ;; esac
	if readelf -lW "$1" | grep -q INTERP; then bad="wants an interpreter: $kind"; fi
	# What is not flashed, such as a test's own programs, may be larger.
	if [ "$package" = ./cmd/parley ] && [ "$size" -gt "${LIMIT:-$limit}" ]; then bad="$size bytes, and $limit are allowed"; fi
	if [ "$package" = ./cmd/parley ]; then
		while read -r name what; do
			if [ -n "$name" ] && grep -aqF "$name" "$1"; then bad="has in it $what"; fi
		done <<-EOF
			$unwanted
		EOF
	fi
	[ -z "$bad" ] || { rm -f "$1"; die "$output-$arch: $bad"; }
}

# What the sysroots depend on: the recipe down to there, and the compilers.
hash=$({
	sed '/^# From here on/,$d' scripts/firmware.sh
	arm-linux-gnueabihf-gcc -dumpfullversion
	aarch64-linux-gnu-gcc -dumpfullversion
} | sha256sum | cut -c1-16)
cache=${PARLEY_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/parley}/firmware/$hash
mkdir -p "$cache" "$(dirname "$output")"

# Two builds at once share one cache: the second waits until the first has made it.
exec 9>"$cache/lock"
flock 9
if ! [ -e "$cache/armv7/complete" ] || ! [ -e "$cache/arm64/complete" ]; then
	fetch
	sysroot armv7
	sysroot arm64
fi
flock -u 9
exec 9>&-

# With ARCHS=armv7 or ARCHS=arm64, for that one alone.
for a in ${ARCHS:-armv7 arm64}; do build "$a"; done
for a in ${ARCHS:-armv7 arm64}; do
	echo "$output-$a: $(stat -c %s "$output-$a") bytes, $(file -b "$output-$a")"
done
