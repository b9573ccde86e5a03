// SPDX-License-Identifier: Apache-2.0

package process

import (
	"bytes"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"
)

// pollInterval is how often the signer looks for leftovers. A killed process is gone within a fraction of it.
const pollInterval = 2 * time.Millisecond

// KillLeftovers kills all processes of the container except the signer, as the kernel does at the end of a
// container. It takes at most limit, and reports whether no process is left.
func KillLeftovers(limit time.Duration) bool {
	kill := killDescendants
	if os.Getpid() == 1 {
		kill = killNamespace
	}
	for deadline := time.Now().Add(limit); ; time.Sleep(pollInterval) {
		reap()
		if !kill() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
	}
}

// killNamespace kills every other process in the process namespace, in which the signer is process 1, and
// reports whether there was one.
func killNamespace() bool {
	return !errors.Is(syscall.Kill(-1, syscall.SIGKILL), syscall.ESRCH)
}

// killDescendants kills only the signer's descendants, because the process namespace belongs to the whole
// pod, and reports whether there was one. They include orphans, because the signer is their reaper.
func killDescendants() bool {
	pids := descendants(os.Getpid(), parents())
	for _, pid := range pids {
		_ = syscall.Kill(pid, syscall.SIGKILL) // the next poll finds what is still there
	}
	return len(pids) > 0
}

// reap collects the children that have ended.
func reap() {
	for {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid == 0 {
			return
		}
	}
}

// parents returns the parent of each process in /proc.
func parents() map[int]int {
	parentOf := map[int]int{}
	proc, err := os.Open("/proc")
	if err != nil {
		return parentOf
	}
	defer proc.Close()
	names, _ := proc.Readdirnames(-1)
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		stat, err := os.ReadFile("/proc/" + name + "/stat")
		if err != nil {
			continue // the process ended meanwhile
		}
		if parent, ok := parentIn(stat); ok {
			parentOf[pid] = parent
		}
	}
	return parentOf
}

// parentIn returns the fourth field of a line of /proc/PID/stat (proc(5)). The second field, the name in
// parentheses, may contain any bytes.
func parentIn(stat []byte) (int, bool) {
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) < 2 {
		return 0, false
	}
	parent, err := strconv.Atoi(string(fields[1]))
	return parent, err == nil
}

// descendants returns the processes that have ancestor among their parents.
func descendants(ancestor int, parentOf map[int]int) []int {
	var found []int
	for pid := range parentOf {
		// A chain that is longer than the number of processes is a loop: PIDs were reused while reading /proc.
		at := pid
		for range parentOf {
			parent, ok := parentOf[at]
			if !ok {
				break
			}
			if parent == ancestor {
				found = append(found, pid)
				break
			}
			at = parent
		}
	}
	return found
}
