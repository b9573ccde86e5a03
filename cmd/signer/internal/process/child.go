// SPDX-License-Identifier: Apache-2.0

// Package process starts the wrapped entrypoint, forwards signals to it, and kills the processes that the
// step leaves running, so that a wrapped container behaves like one without a signer.
package process

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Child is a running entrypoint.
type Child struct {
	pid        int
	signals    chan os.Signal
	terminated chan struct{}

	mu     sync.Mutex
	reaped bool
}

// Start starts command with the signer's own standard streams, environment and folder. From then on, every
// signal that the signer receives goes to the child. A process may start only one child.
func Start(command []string) (*Child, error) {
	if os.Getpid() != 1 {
		// If the pod shares one process namespace, the signer would otherwise lose the step's orphans to a process
		// outside of the container. If a sandbox forbids the call, nothing else is lost, so the step runs anyway.
		_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	c := &Child{signals: make(chan os.Signal, 64), terminated: make(chan struct{})}
	signal.Notify(c.signals, forwarded()...)
	pid, err := syscall.ForkExec(command[0], command, &syscall.ProcAttr{Env: syscall.Environ(), Files: []uintptr{0, 1, 2}})
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", command[0], err)
	}
	c.pid = pid
	go c.forward()
	return c, nil
}

// forwarded lists the signals that the signer forwards. SIGKILL and SIGSTOP cannot be caught, SIGCHLD is
// about the signer's own children, and the Go runtime sends SIGURG to itself all the time.
func forwarded() []os.Signal {
	const last = 64
	var signals []os.Signal
	for s := syscall.Signal(1); s <= last; s++ {
		switch s {
		case syscall.SIGKILL, syscall.SIGSTOP, syscall.SIGCHLD, syscall.SIGURG:
		default:
			signals = append(signals, s)
		}
	}
	return signals
}

func (c *Child) forward() {
	notified := false
	for s := range c.signals {
		number, ok := s.(syscall.Signal)
		if !ok {
			continue
		}
		if endsProcess(number) && !notified {
			notified = true
			close(c.terminated)
		}
		c.signal(number)
	}
}

// signal sends s unless another process may already have the child's PID.
func (c *Child) signal(s syscall.Signal) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.reaped {
		_ = syscall.Kill(c.pid, s) // it fails only if the child is gone
	}
}

// Terminated is closed after the container received a signal to end.
func (c *Child) Terminated() <-chan struct{} { return c.terminated }

// Wait returns how the child ended. Meanwhile it reaps the orphans that the step leaves.
func (c *Child) Wait() (syscall.WaitStatus, error) {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("waiting for the entrypoint: %w", err)
		}
		if pid == c.pid {
			c.mu.Lock()
			c.reaped = true
			c.mu.Unlock()
			return status, nil
		}
	}
}

// endsProcess reports whether s ends a Go program that does not handle it.
func endsProcess(s syscall.Signal) bool {
	return s == syscall.SIGTERM || s == syscall.SIGINT || s == syscall.SIGHUP || s == syscall.SIGQUIT
}

// ExitCode returns the code with which the container must exit after a child that ended with status: the same
// as without a signer. The kernel does not deliver signals to process 1 that it does not handle, and the Go
// runtime of the entrypoint then exits with 2 instead. For every other process that dies of signal n, the
// container runtime reports 128 + n.
func ExitCode(status syscall.WaitStatus, isProcess1 bool) int {
	switch {
	case !status.Signaled():
		return status.ExitStatus()
	case isProcess1 && endsProcess(status.Signal()):
		return 2
	}
	return 128 + int(status.Signal())
}
