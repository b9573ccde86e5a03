// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// setUpMounts turns the copy of the host's mounts, which the new mount namespace starts with, into the sandbox's own.
func setUpMounts(config Config) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	// First of all: what is mounted from here on must never appear on the host.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	links := symlinks(cgroupRoot)
	// Hiding the host's hierarchies under new mounts is not enough: they would still be listed, and runc and the
	// kubelet take the first they find.
	for _, h := range slices.Backward(all) {
		if err := unix.Unmount(h.mount, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", h.mount, err)
		}
	}
	if err := mountKernelFilesystems(); err != nil {
		return err
	}
	if err := mountCgroups(all, links); err != nil {
		return err
	}
	if err := mountTunables(config.Tunables); err != nil {
		return err
	}
	for _, target := range slices.Sorted(maps.Keys(config.Binds)) {
		if err := unix.Mount(config.Binds[target], target, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
			return fmt.Errorf("mount %s over %s: %w", config.Binds[target], target, err)
		}
	}
	// Volumes with mount propagation, as CSI drivers use them, need a shared tree.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("make mounts shared: %w", err)
	}
	return nil
}

func mountKernelFilesystems() error {
	for _, m := range []struct {
		filesystem, target, options string
		flags                       uintptr
	}{
		{"proc", "/proc", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"sysfs", "/sys", "", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		{"tmpfs", "/run", "mode=755", unix.MS_NOSUID | unix.MS_NODEV},
	} {
		if err := unix.Mount(m.filesystem, m.target, m.filesystem, m.flags, m.options); err != nil {
			return fmt.Errorf("mount %s on %s: %w", m.filesystem, m.target, err)
		}
	}
	for _, folder := range []string{filepath.Dir(ControlSocket), "/run/lock", "/run/netns"} {
		if err := os.MkdirAll(folder, 0o750); err != nil {
			return err
		}
	}
	return nil
}

// mountCgroups mounts the same hierarchies at the same places. Inside the cgroup namespace their root is the
// sandbox's own folder.
func mountCgroups(all []hierarchy, links map[string]string) error {
	const flags = unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC
	if all[0].mount != cgroupRoot {
		if err := unix.Mount("tmpfs", cgroupRoot, "tmpfs", flags, "mode=755"); err != nil {
			return fmt.Errorf("mount tmpfs on %s: %w", cgroupRoot, err)
		}
	}
	for _, h := range all {
		if err := os.MkdirAll(h.mount, 0o750); err != nil {
			return err
		}
		filesystem := "cgroup"
		if h.unified {
			filesystem = "cgroup2"
		}
		if err := unix.Mount(filesystem, h.mount, filesystem, flags, h.options); err != nil {
			return fmt.Errorf("mount %s %s on %s: %w", filesystem, h.options, h.mount, err)
		}
		if h.unified {
			if err := leaveRootCgroup(h.mount); err != nil {
				return err
			}
		}
	}
	for link, target := range links {
		if err := os.Symlink(target, link); err != nil {
			return err
		}
	}
	return nil
}

// leaveRootCgroup moves the init into a child: in version 2 a cgroup with processes cannot hand controllers down.
func leaveRootCgroup(root string) error {
	folder := filepath.Join(root, "init")
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte("0"), 0); err != nil {
		return fmt.Errorf("enter the cgroup %s: %w", folder, err)
	}
	delegateControllers(root)
	return nil
}

// mountTunables puts a file of our own over each named file of /proc/sys.
func mountTunables(tunables map[string]string) error {
	for target, value := range tunables {
		file := filepath.Join("/run/lab", strings.ReplaceAll(strings.TrimPrefix(target, "/"), "/", "."))
		if err := os.WriteFile(file, []byte(value+"\n"), 0o600); err != nil {
			return err
		}
		if err := unix.Mount(file, target, "", unix.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount over %s: %w", target, err)
		}
	}
	return nil
}

// symlinks lists the links in a folder, such as cpu -> cpu,cpuacct among the cgroup hierarchies.
func symlinks(folder string) map[string]string {
	found := map[string]string{}
	entries, _ := os.ReadDir(folder)
	for _, entry := range entries {
		path := filepath.Join(folder, entry.Name())
		if target, err := os.Readlink(path); err == nil {
			found[path] = target
		}
	}
	return found
}
