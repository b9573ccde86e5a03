// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/node"
	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
)

// componentTimeout is how long a component may take to serve.
const componentTimeout = 60 * time.Second

// probeTimeout is how long one probe of a component may take.
const probeTimeout = 5 * time.Second

// maxRestarts is how often a component may end while the lab waits for it. The kubelet and the controllers end if
// they start before what they need. More restarts are a mistake in the configuration.
const maxRestarts = 3

// await returns when a component serves. An error names the component and shows the end of its log.
func (l *Lab) await(ctx context.Context, component string) error {
	probe := func(ctx context.Context) error { return l.probeHealth(ctx, component) }
	switch component {
	case Containerd:
		probe = l.probeContainerd
	case Kubelet:
		probe = l.probeNode
	}
	ctx, cancel := context.WithTimeout(ctx, componentTimeout)
	defer cancel()
	var last error
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		last = probe(ctx)
		return last == nil, l.checkAlive(ctx, component)
	})
	if err != nil {
		return l.withLog(fmt.Errorf("wait for %s: %w (last answer: %w)", component, err, last), component)
	}
	return nil
}

func (l *Lab) checkAlive(ctx context.Context, component string) error {
	pid, err := l.init()
	if err != nil {
		return err
	}
	all, err := sandbox.NewClient(pid).Status(ctx)
	if err != nil {
		return err
	}
	for _, status := range all {
		if status.Name == component && status.Restarts > maxRestarts {
			return fmt.Errorf("it ended %d times by itself: %s", status.Restarts, status.LastExit)
		}
	}
	return nil
}

func (l *Lab) probeContainerd(ctx context.Context) error {
	pid, err := l.init()
	if err != nil {
		return err
	}
	socket := fmt.Sprintf("/proc/%d/root/run/containerd/containerd.sock", pid)
	connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return err
	}
	return connection.Close()
}

func (l *Lab) probeHealth(ctx context.Context, component string) error {
	config, err := l.RESTConfig()
	if err != nil {
		return err
	}
	config.Timeout = probeTimeout
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		return err
	}
	url := node.HealthURL(l.layout(), component)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: expected 200 OK, got %s", url, response.Status)
	}
	return nil
}

// probeNode asks the kubelet itself first: the node's condition may be an old one.
func (l *Lab) probeNode(ctx context.Context) error {
	if err := l.probeHealth(ctx, Kubelet); err != nil {
		return err
	}
	client, err := l.client()
	if err != nil {
		return err
	}
	found, err := client.CoreV1().Nodes().Get(ctx, l.layout().Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s: expected Ready True, got %s: %s", found.Name, condition.Status, condition.Message)
		}
	}
	return nil
}

func (l *Lab) client() (*kubernetes.Clientset, error) {
	config, err := l.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = probeTimeout
	return kubernetes.NewForConfig(config)
}

// withLog adds the last lines of a component's log to an error.
func (l *Lab) withLog(err error, component string) error {
	path := filepath.Join(sandbox.LogFolder(l.folders.state), component+".log")
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		return err
	}
	return fmt.Errorf("%w\nlast lines of %s:\n%s", err, path, logEnd(data))
}

// logEnd is the last ten lines of a log, each cut to a length that fits a screen.
func logEnd(data []byte) []byte {
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	lines = lines[max(0, len(lines)-10):]
	for i, line := range lines {
		lines[i] = line[:min(len(line), 300)]
	}
	return bytes.Join(lines, []byte("\n"))
}
