// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
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
	lock, err := acquire(config.State, 5*time.Second)
	if err != nil {
		return err
	}
	defer lock.Close()
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT)

	init := exec.Command("/proc/self/exe", args[1:]...)
	init.Args = args
	init.Stdout, init.Stderr = os.Stdout, os.Stderr
	init.SysProcAttr = &syscall.SysProcAttr{Cloneflags: namespaces, Pdeathsig: syscall.SIGKILL, Setsid: true}
	if err := init.Start(); err != nil {
		return fmt.Errorf("start the init in new namespaces: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- init.Wait() }()

	pids := PIDs{Supervisor: os.Getpid(), Init: init.Process.Pid}
	err = errors.Join(writeJSON(pidFile(config.State), pids), connect(config, pids.Init))
	if err == nil {
		select {
		case s := <-signals:
			log.Printf("ending the sandbox: %s", s)
		case err = <-ended:
			ended <- err
			err = fmt.Errorf("the init ended by itself: %w", err)
		}
	}
	_ = init.Process.Kill()
	<-ended
	return errors.Join(err, cleanUp(config))
}

// acquire takes the state folder's lock. It tries for a while: whoever looks whether the sandbox runs holds it for
// a moment.
func acquire(state string, patience time.Duration) (*os.File, error) {
	file, err := os.OpenFile(lockFile(state), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	deadline := time.Now().Add(patience)
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return file, nil
		}
		if time.Now().After(deadline) {
			file.Close()
			return nil, fmt.Errorf("lock %s: another supervisor holds it: %w", lockFile(state), err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cleanUp removes what outlives the namespaces.
func cleanUp(config Config) error {
	return errors.Join(disconnect(config), removeCgroups(config.Cgroup))
}
