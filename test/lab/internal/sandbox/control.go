// SPDX-License-Identifier: Apache-2.0

package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

// Component is a process the init starts, watches and logs.
type Component struct {
	// Name identifies the component; its log is NAME.log.
	Name string `json:"name"`
	// Path is the executable, an absolute path.
	Path string `json:"path"`
	// Args are the arguments after the executable's name.
	Args []string `json:"args"`
	// Env is the whole environment: nothing is inherited.
	Env []string `json:"env"`
}

// ComponentStatus is what the init knows about a component.
type ComponentStatus struct {
	Component
	// PID is the process id inside the sandbox, 0 when it does not run.
	PID int `json:"pid"`
	// Wanted is false after a stop. A wanted component that ends by itself is started again.
	Wanted bool `json:"wanted"`
	// Restarts counts how often it ended by itself since it was last started, and LastExit says how it did the last time.
	Restarts int    `json:"restarts"`
	LastExit string `json:"lastExit,omitempty"`
}

// Client talks to a sandbox's init.
type Client struct {
	http *http.Client
}

// NewClient talks to the init with the given process id on the host. Its socket is reached through the init's own
// view of the file system, so no path of the host is needed and none is left behind.
func NewClient(initPID int) *Client {
	socket := fmt.Sprintf("/proc/%d/root%s", initPID, ControlSocket)
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{http: &http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Start starts a component that does not run yet.
func (c *Client) Start(ctx context.Context, component Component) error {
	body, err := json.Marshal(component)
	if err != nil {
		return fmt.Errorf("encode %s: %w", component.Name, err)
	}
	return c.call(ctx, "/start", body, nil)
}

// Stop ends a component: SIGTERM, and SIGKILL when it is still there after grace. Stopping one that does not run is
// fine, one that was never started is an error.
func (c *Client) Stop(ctx context.Context, name string, grace time.Duration) error {
	query := url.Values{"name": {name}, "grace": {grace.String()}}
	return c.call(ctx, "/stop?"+query.Encode(), nil, nil)
}

// Status lists the components in the order of their first start.
func (c *Client) Status(ctx context.Context) ([]ComponentStatus, error) {
	var all []ComponentStatus
	return all, c.call(ctx, "/status", nil, &all)
}

func (c *Client) call(ctx context.Context, path string, body []byte, answer any) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://init"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	response, err := c.http.Do(request)
	if err != nil {
		return fmt.Errorf("ask the lab's init: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("read the answer of the lab's init: %w", err)
	}
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("lab init: %s", bytes.TrimSpace(data))
	}
	if answer == nil {
		return nil
	}
	return json.Unmarshal(data, answer)
}
