// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Launch starts a supervisor from the given executable and returns when the sandbox's init answers. The supervisor
// stays behind when the caller ends.
func Launch(ctx context.Context, config Config, executable string) (PIDs, error) {
	if err := config.Save(); err != nil {
		return PIDs{}, err
	}
	output, err := os.OpenFile(SupervisorLog(config.State), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return PIDs{}, err
	}
	defer func() { _ = output.Close() }()
	command := exec.Command(executable, "supervise", ConfigFile(config.State))
	command.Dir, command.Stdout, command.Stderr = "/", output, output
	command.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := command.Start(); err != nil {
		return PIDs{}, fmt.Errorf("start the supervisor: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- command.Wait() }()
	return awaitInit(ctx, config.State, ended)
}

func awaitInit(ctx context.Context, state string, ended <-chan error) (PIDs, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for {
		if pids, running := Running(state); running {
			if _, err := NewClient(pids.Init).Status(ctx); err == nil {
				return pids, nil
			}
		}
		select {
		case err := <-ended:
			return PIDs{}, fmt.Errorf("the supervisor ended before the sandbox was ready: %w", err)
		case <-ctx.Done():
			return PIDs{}, fmt.Errorf("wait for the sandbox: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Running reports whether a supervisor holds the state folder, and the processes of the sandbox.
func Running(state string) (PIDs, bool) {
	if !locked(lockFile(state)) {
		return PIDs{}, false
	}
	var pids PIDs
	if err := readJSON(pidFile(state), &pids); err != nil {
		return PIDs{}, false
	}
	return pids, true
}

// Stop ends a sandbox and removes what is left of it on the host: also of one whose supervisor was killed. Without a
// sandbox in the folder it does nothing. Files in the folder stay.
func Stop(state string) error {
	config, err := LoadConfig(ConfigFile(state))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if pids, running := Running(state); running {
		_ = syscall.Kill(pids.Supervisor, syscall.SIGTERM)
		if !freed(state, 15*time.Second) {
			// The lock is still held, so the ids are still theirs.
			_ = syscall.Kill(pids.Init, syscall.SIGKILL)
			_ = syscall.Kill(pids.Supervisor, syscall.SIGKILL)
			if !freed(state, 5*time.Second) {
				return fmt.Errorf("process %d does not end: see %s", pids.Supervisor, SupervisorLog(state))
			}
		}
	}
	return cleanUp(config)
}

func freed(state string, patience time.Duration) bool {
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if !locked(lockFile(state)) {
			return true
		}
	}
	return false
}
