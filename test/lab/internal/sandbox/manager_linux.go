// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// restartPause keeps a component that cannot live from taking the machine.
const restartPause = time.Second

// manager starts components and reaps every process that ends in the sandbox, its own and the orphans that become
// the init's children.
type manager struct {
	logs string

	mu    sync.Mutex
	order []string
	known map[string]*process
}

type process struct {
	status ComponentStatus
	ended  chan struct{} // closed when the process with status.PID is gone
}

func newManager(logs string) *manager {
	return &manager{logs: logs, known: map[string]*process{}}
}

func (m *manager) start(component Component) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.known[component.Name]
	if p == nil {
		p = &process{}
		m.known[component.Name] = p
		m.order = append(m.order, component.Name)
	}
	if p.status.PID != 0 {
		return fmt.Errorf("%s already runs with process id %d", component.Name, p.status.PID)
	}
	p.status.Component, p.status.Wanted, p.status.Restarts = component, true, 0
	return m.spawn(p)
}

// spawn needs m.mu, so that the process cannot be reaped before its id is known.
func (m *manager) spawn(p *process) error {
	component := p.status.Component
	file, err := os.OpenFile(filepath.Join(m.logs, component.Name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }()
	child, err := os.StartProcess(component.Path, append([]string{component.Path}, component.Args...), &os.ProcAttr{
		Dir: "/", Env: component.Env, Files: []*os.File{nil, file, file}, Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		return fmt.Errorf("start %s: %w", component.Name, err)
	}
	p.status.PID, p.ended = child.Pid, make(chan struct{})
	log.Printf("started %s with process id %d", component.Name, child.Pid)
	// reap waits for every child there is.
	return child.Release()
}

func (m *manager) stop(name string, grace time.Duration) error {
	m.mu.Lock()
	p := m.known[name]
	if p == nil {
		m.mu.Unlock()
		return fmt.Errorf("no component named %q was started", name)
	}
	p.status.Wanted = false
	pid, ended := p.status.PID, p.ended
	m.mu.Unlock()
	if pid == 0 {
		return nil
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-ended:
	case <-time.After(grace):
		_ = syscall.Kill(pid, syscall.SIGKILL)
		<-ended
	}
	return nil
}

func (m *manager) status() []ComponentStatus {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]ComponentStatus, 0, len(m.order))
	for _, name := range m.order {
		all = append(all, m.known[name].status)
	}
	return all
}

// reap collects ended children until the process ends. It must run before the first start.
func (m *manager) reap() {
	children := make(chan os.Signal, 1)
	signal.Notify(children, syscall.SIGCHLD)
	for range children {
		for m.reapOne() {
		}
	}
}

func (m *manager) reapOne() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	var status syscall.WaitStatus
	pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
	if err == syscall.EINTR {
		return true
	}
	if err != nil || pid <= 0 {
		return false
	}
	for _, p := range m.known {
		if p.status.PID == pid {
			m.onExit(p, status)
		}
	}
	return true
}

// onExit needs m.mu.
func (m *manager) onExit(p *process, status syscall.WaitStatus) {
	p.status.PID, p.status.LastExit = 0, describeExit(status)
	close(p.ended)
	log.Printf("%s ended: %s", p.status.Name, p.status.LastExit)
	if !p.status.Wanted {
		return
	}
	p.status.Restarts++
	time.AfterFunc(restartPause, func() { m.restart(p) })
}

func (m *manager) restart(p *process) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !p.status.Wanted || p.status.PID != 0 {
		return
	}
	if err := m.spawn(p); err != nil {
		log.Print(err)
	}
}

func describeExit(status syscall.WaitStatus) string {
	if status.Signaled() {
		return "signal " + status.Signal().String()
	}
	return fmt.Sprintf("exit code %d", status.ExitStatus())
}
