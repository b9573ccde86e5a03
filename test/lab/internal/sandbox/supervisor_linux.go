// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"syscall"
	"time"
)

const namespaces = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET |
	syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC

// Supervise starts the sandbox's init with args and stays until it ends or a signal asks for its end. Then it removes
// what the kernel does not remove by itself. It holds the state folder's lock all the while, which is how others know
// that the sandbox runs.
func Supervise(config Config, args []string) error {
	// The kernel kills the init when the thread that started it ends; this one lives as long as the process.
	runtime.LockOSThread()
	// Another process that checks whether the sandbox runs holds the lock for a moment.
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	lock, err := Lock(patience, lockFile(config.State))
	if err != nil {
		return err
	}
	defer func() { _ = lock.Close() }()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	init := exec.Command("/proc/self/exe", args[1:]...)
	init.Args = args
	init.Stdout, init.Stderr = os.Stdout, os.Stderr
	init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := init.Start(); err != nil {
		return fmt.Errorf("start the init in new namespaces: %w", err)
	}
	var exit error
	ended := make(chan struct{})
	go func() { exit = init.Wait(); close(ended) }()

	pids := PIDs{Supervisor: os.Getpid(), Init: init.Process.Pid}
	err = errors.Join(writeJSON(pidFile(config.State), pids), connect(config, pids.Init))
	if err == nil {
		select {
		case s := <-signals:
			log.Printf("ending the sandbox: %s", s)
		case <-ended:
			err = fmt.Errorf("the init ended by itself: %w", exit)
		}
	}
	_ = init.Process.Kill()
	<-ended
	return errors.Join(err, cleanUp(config))
}

// cleanUp removes what outlives the namespaces.
func cleanUp(config Config) error {
	return errors.Join(disconnect(config), removeCgroups(config.Cgroup))
}
