// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const cgroupRoot = "/sys/fs/cgroup"

// hierarchy is one mounted cgroup hierarchy: several of them on a version 1 or hybrid host, one on a version 2 host.
type hierarchy struct {
	mount   string // where it is mounted, such as /sys/fs/cgroup/cpu
	options string // what mounts it again, such as "cpu,cpuacct" or "none,name=systemd"; empty for version 2
	unified bool   // version 2
}

func hierarchies() ([]hierarchy, error) {
	file, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	found, err := parseHierarchies(file)
	if err == nil && len(found) == 0 {
		err = errors.New("no cgroup hierarchy is mounted: mount cgroups under " + cgroupRoot)
	}
	return found, err
}

// parseHierarchies reads /proc/PID/mountinfo, described in proc_pid_mountinfo(5).
func parseHierarchies(mountinfo io.Reader) ([]hierarchy, error) {
	var found []hierarchy
	devices := map[string]bool{}
	lines := bufio.NewScanner(mountinfo)
	for lines.Scan() {
		mount, filesystem, ok := strings.Cut(lines.Text(), " - ")
		left, right := strings.Fields(mount), strings.Fields(filesystem)
		if !ok || len(left) < 5 || len(right) < 3 || !strings.HasPrefix(right[0], "cgroup") || devices[left[2]] {
			continue
		}
		devices[left[2]] = true
		h := hierarchy{mount: left[4], unified: right[0] == "cgroup2"}
		if !h.unified {
			h.options = mountOptions(right[2])
		}
		found = append(found, h)
	}
	return found, lines.Err()
}

// mountOptions keeps of a version 1 superblock's options those that name the hierarchy.
func mountOptions(super string) string {
	var kept []string
	for option := range strings.SplitSeq(super, ",") {
		switch {
		case strings.HasPrefix(option, "name="):
			kept = append(kept, "none", option)
		case slices.Contains([]string{"rw", "ro", "xattr", "clone_children", "noprefix"}, option),
			strings.HasPrefix(option, "release_agent="):
		default:
			kept = append(kept, option)
		}
	}
	return strings.Join(kept, ",")
}

// enterCgroups makes the sandbox's folder in every hierarchy and moves the calling process there.
func enterCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		folder := filepath.Join(h.mount, name)
		if h.unified {
			delegateControllers(h.mount)
		}
		if err := os.Mkdir(folder, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("make a cgroup: %w", err)
		}
		// A new version 1 cpuset has no processor and no memory node, and takes no process before it has both.
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			if h.unified {
				break
			}
			if err := copyFile(filepath.Join(h.mount, file), filepath.Join(folder, file)); err != nil {
				return err
			}
		}
		// "0" is the process that writes.
		if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte("0"), 0); err != nil {
			return fmt.Errorf("enter the cgroup %s: %w", folder, err)
		}
	}
	return nil
}

// delegateControllers hands every available controller down to the children of a version 2 cgroup. Each one by
// itself: one that cannot be handed down must not keep the others back.
func delegateControllers(folder string) {
	available, err := os.ReadFile(filepath.Join(folder, "cgroup.controllers"))
	if err != nil {
		return
	}
	for _, controller := range strings.Fields(string(available)) {
		//nolint:gosec // a mount point
		_ = os.WriteFile(filepath.Join(folder, "cgroup.subtree_control"), []byte("+"+controller), 0)
	}
}

func copyFile(from, to string) error {
	data, err := os.ReadFile(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0) //nolint:gosec // a file of a cgroup
}

// removeCgroups removes the sandbox's folders. Processes still in them are killed first: after a crash of the
// supervisor nothing else knows them.
func removeCgroups(name string) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	var failed []error
	for _, h := range all {
		failed = append(failed, removeCgroup(filepath.Join(h.mount, name)))
	}
	return errors.Join(failed...)
}

func removeCgroup(root string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := tryRemoveCgroup(root)
		if err == nil || time.Now().After(deadline) {
			return err
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func tryRemoveCgroup(root string) error {
	var folders []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			folders = append(folders, path)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("list the cgroup %s: %w", root, err)
	}
	for _, folder := range slices.Backward(folders) {
		killMembers(folder)
		if err := syscall.Rmdir(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove the cgroup %s: %w", folder, err)
		}
	}
	return nil
}

func killMembers(folder string) {
	data, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}
