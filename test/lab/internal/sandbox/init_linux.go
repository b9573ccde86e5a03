// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Enter is the first thing the sandbox's init does: it moves into the sandbox's cgroups, makes them the root of a
// new cgroup namespace, and runs its own executable again with args. It does not return unless it failed.
//
// The supervisor cannot do this for it, because a new cgroup namespace takes its root from where its creator is.
func Enter(config Config, args []string) error {
	if os.Getpid() != 1 {
		return fmt.Errorf("expected to be process 1 of a new namespace, got process id %d", os.Getpid())
	}
	if err := enterCgroups(config.Cgroup); err != nil {
		return err
	}
	// Namespaces belong to threads; exec keeps those of the calling one.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWCGROUP); err != nil {
		return fmt.Errorf("make a cgroup namespace: %w", err)
	}
	if err := syscall.Exec("/proc/self/exe", args, os.Environ()); err != nil {
		return fmt.Errorf("run again: %w", err)
	}
	return nil
}

// Init makes the sandbox usable and serves its control socket until the process is killed.
func Init(config Config) error {
	if err := unix.Sethostname([]byte(config.Hostname)); err != nil {
		return fmt.Errorf("set the host name: %w", err)
	}
	if err := setUpMounts(config); err != nil {
		return err
	}
	if err := setUpNetwork(config); err != nil {
		return err
	}
	m := newManager(LogFolder(config.State))
	go m.reap()
	listener, err := net.Listen("unix", ControlSocket)
	if err != nil {
		return fmt.Errorf("open the control socket: %w", err)
	}
	if err := os.Chmod(ControlSocket, 0o600); err != nil {
		return err
	}
	log.Print("ready")
	server := &http.Server{Handler: controlHandler(m), ReadHeaderTimeout: 5 * time.Second}
	return server.Serve(listener)
}

func controlHandler(m *manager) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/start", func(w http.ResponseWriter, r *http.Request) {
		var component Component
		err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&component)
		if err == nil {
			err = m.start(component)
		}
		answer(w, nil, err)
	})
	mux.HandleFunc("/stop", func(w http.ResponseWriter, r *http.Request) {
		grace, err := time.ParseDuration(r.URL.Query().Get("grace"))
		if err == nil {
			err = m.stop(r.URL.Query().Get("name"), grace)
		}
		answer(w, nil, err)
	})
	mux.HandleFunc("/status", func(w http.ResponseWriter, _ *http.Request) { answer(w, m.status(), nil) })
	return mux
}

func answer(w http.ResponseWriter, value any, err error) {
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	_ = json.NewEncoder(w).Encode(value)
}
