// SPDX-License-Identifier: Apache-2.0

//go:build e2e

package lab

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// traces are by what a lab's leftovers are known.
type traces struct {
	name       string
	state      string
	namespaces map[string]bool // such as "net:[4026532180]"
	network    string          // the host's interface
}

func tracesOf(t *testing.T, l *Lab, init int) traces {
	t.Helper()
	found := traces{name: "tekton-sign-lab-" + l.name, state: l.folders.state + "/", network: hostInterface(l.name),
		namespaces: map[string]bool{}}
	for _, kind := range neededNamespaces {
		own, err := os.Readlink("/proc/self/ns/" + kind)
		must(t, err)
		its, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/%s", init, kind))
		must(t, err)
		if own == its {
			t.Errorf("%s namespace: expected one of the lab's own, got the host's", kind)
		}
		found.namespaces[its] = true
	}
	if len(found.processes(t)) < 8 { // 6 components, the init and the supervisor
		t.Fatalf("processes of the running lab: expected 8 at least, got %v", found.processes(t))
	}
	return found
}

// processes lists the processes that are in the lab's namespaces or cgroups, or were started from its folder.
func (tr traces) processes(t *testing.T) []string {
	t.Helper()
	var found []string
	entries, err := os.ReadDir("/proc")
	must(t, err)
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		folder := filepath.Join("/proc", entry.Name())
		command, _ := os.ReadFile(filepath.Join(folder, "cmdline"))
		cgroups, _ := os.ReadFile(filepath.Join(folder, "cgroup"))
		mine := strings.Contains(string(command), tr.state) || strings.Contains(string(cgroups), "/"+tr.name)
		for _, kind := range neededNamespaces {
			namespace, _ := os.Readlink(filepath.Join(folder, "ns", kind))
			mine = mine || tr.namespaces[namespace]
		}
		if mine {
			found = append(found, entry.Name()+" "+strings.ReplaceAll(string(command), "\x00", " "))
		}
	}
	return found
}

func checkNothingLeft(t *testing.T, l *Lab, tr traces, before host) {
	t.Helper()
	if left := tr.processes(t); len(left) > 0 {
		t.Errorf("processes left: expected none, got %q", left)
	}
	if _, err := os.Stat("/sys/class/net/" + tr.network); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("interface %s left: expected none, got %v", tr.network, err)
	}
	if _, err := os.Stat(l.folders.state); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state folder left: expected none, got %v", err)
	}
	for _, line := range strings.Split(read(t, "/proc/self/mountinfo"), "\n") {
		if strings.Contains(line, tr.state) || strings.Contains(line, tr.name) {
			t.Errorf("mount left: %s", line)
		}
	}
	if diff := cmp.Diff(before, hostState(t)); diff != "" {
		t.Errorf("host (-before +after):\n%s", diff)
	}
}

// host is what a lab could change by mistake.
type host struct {
	Cgroups  []string          // that belong to the test's lab or to no lab
	Settings map[string]string // under /proc/sys
	Folders  map[string]bool   // which of those that components like to make exist
}

func hostState(t *testing.T) host {
	t.Helper()
	h := host{Settings: map[string]string{}, Folders: map[string]bool{}}
	must(t, filepath.WalkDir("/sys/fs/cgroup", func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			if strings.HasPrefix(entry.Name(), "tekton-sign-lab-") && entry.Name() != "tekton-sign-lab-"+testName {
				return fs.SkipDir // another lab, which may come and go
			}
			h.Cgroups = append(h.Cgroups, path)
		}
		return err
	}))
	for _, name := range []string{"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops",
		"kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes", "kernel/hostname", "net/ipv4/ip_forward"} {
		h.Settings[name] = read(t, "/proc/sys/"+name)
	}
	for _, name := range []string{"/var/lib/kubelet", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/cni",
		"/run/containerd", "/run/netns", "/var/log/pods", "/var/log/containers", "/etc/cni", "/etc/kubernetes",
		"/opt/cni", "/opt/containerd", "/usr/libexec/kubernetes", "/run/runc", "/run/spire", "/var/lib/spire"} {
		_, err := os.Stat(name)
		h.Folders[name] = err == nil
	}
	return h
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	must(t, err)
	return string(data)
}
