// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// DefaultName is the lab's name when nobody gave one.
const DefaultName = "default"

// Environment variables that choose a lab and its folders.
const (
	NameVariable  = "TEKTON_SIGN_LAB_NAME"
	CacheVariable = "TEKTON_SIGN_LAB_CACHE"
	StateVariable = "TEKTON_SIGN_LAB_STATE"
)

// The name becomes part of a host name, of a cgroup's name and of paths.
var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$`)

// folders are where a lab keeps its files.
type folders struct {
	cache string // binaries and images, shared by all labs and kept
	state string // everything of one lab, removed when it goes down
}

// chooseFolders decides from the environment, read through getenv, where the lab with the given name lives.
func chooseFolders(name string, getenv func(string) string) (folders, error) {
	if !namePattern.MatchString(name) {
		return folders{}, fmt.Errorf("lab name %q: expected up to 32 of a-z, 0-9 and -, no - at the ends", name)
	}
	home := getenv("HOME")
	cache, err := firstFolder(getenv(CacheVariable), getenv("XDG_CACHE_HOME"), home, ".cache")
	if err != nil {
		return folders{}, fmt.Errorf("no place for the cache: %w: set %s", err, CacheVariable)
	}
	state, err := firstFolder(getenv(StateVariable), getenv("XDG_STATE_HOME"), home, ".local/state")
	if err != nil {
		return folders{}, fmt.Errorf("no place for the state: %w: set %s", err, StateVariable)
	}
	f := folders{cache: filepath.Join(cache, "tekton-sign-lab"), state: filepath.Join(state, "tekton-sign-lab", name)}
	return f, errors.Join(checkVisible(f.cache, CacheVariable), checkVisible(f.state, StateVariable))
}

func firstFolder(own, xdg, home, underHome string) (string, error) {
	if home == "" && cmp.Or(own, xdg) == "" {
		return "", errors.New("HOME is not set")
	}
	return filepath.Abs(cmp.Or(own, xdg, filepath.Join(home, underHome)))
}

// covered are folders of the host that are replaced inside the lab.
var covered = []string{"/run", "/var/run", "/var/lib", "/var/log", "/proc", "/sys"}

// checkVisible refuses a folder that the components could not see.
func checkVisible(folder, variable string) error {
	for _, c := range covered {
		if strings.HasPrefix(folder+"/", c+"/") {
			return fmt.Errorf("folder %s: expected one outside %s, which a lab replaces: set %s", folder, c, variable)
		}
	}
	return nil
}

// subnetPool is the benchmarking network of RFC 2544: on no real network, and big enough for 32768 pairs.
var subnetPool = netip.MustParsePrefix("198.18.0.0/15")

// pair is the addresses of a veth pair's two ends, in a /30 of their own.
type pair struct {
	host, node netip.Prefix
}

// choosePair derives a pair from the lab's name and goes on to the next while it overlaps with a taken prefix.
func choosePair(name string, taken []netip.Prefix) (pair, error) {
	const count = 1 << (30 - 15)
	sum := sha256.Sum256([]byte(name))
	first := binary.BigEndian.Uint32(sum[:4])
	base := subnetPool.Addr().As4()
	for attempt := range uint32(count) {
		offset := (first + attempt) % count * 4
		subnet := netip.PrefixFrom(addressAt(base, offset), 30)
		if !overlapsAny(subnet, taken) {
			return pair{
				host: netip.PrefixFrom(addressAt(base, offset+1), 30),
				node: netip.PrefixFrom(addressAt(base, offset+2), 30),
			}, nil
		}
	}
	return pair{}, fmt.Errorf("no free /30 in %s: expected one that no interface of this machine uses", subnetPool)
}

func addressAt(base [4]byte, offset uint32) netip.Addr {
	var raw [4]byte
	binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(base[:])+offset)
	return netip.AddrFrom4(raw)
}

func overlapsAny(subnet netip.Prefix, taken []netip.Prefix) bool {
	for _, t := range taken {
		if t.Overlaps(subnet) {
			return true
		}
	}
	return false
}

// hostInterface names the host's end of the veth pair. Linux allows 15 bytes.
func hostInterface(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "tslab" + hex.EncodeToString(sum[:5])
}

// nameFromEnvironment returns the name to use when none is given on the command line.
func nameFromEnvironment() string { return cmp.Or(os.Getenv(NameVariable), DefaultName) }
