// SPDX-License-Identifier: Apache-2.0

package lab

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	corev1 "k8s.io/api/core/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/test/lab/internal/sandbox"
)

// componentTimeout is how long a component may take to serve.
const componentTimeout = 60 * time.Second

// maxRestarts is how often a component may end by itself while it is awaited. The kubelet and the controllers end
// when they come before what they need; more than that is a mistake in how they are set up.
const maxRestarts = 3

// await returns when a component serves. An error names the component and shows the end of its log.
func (l *Lab) await(ctx context.Context, component string) error {
	probe := map[string]func(context.Context) error{
		Containerd: l.probeContainerd,
		APIServer:  l.probeAPIServer,
		Kubelet:    l.probeKubelet,
	}[component]
	if probe == nil {
		return nil
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

func (l *Lab) probeAPIServer(ctx context.Context) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	return client.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
}

func (l *Lab) probeKubelet(ctx context.Context) error {
	client, err := l.client()
	if err != nil {
		return err
	}
	name := l.layout().Name
	found, err := client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	for _, condition := range found.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("node %s: expected Ready True, got %s: %s", name, condition.Status, condition.Message)
		}
	}
	// The condition may be an old one; only the kubelet itself answers this.
	return client.CoreV1().RESTClient().Get().Resource("nodes").Name(name).SubResource("proxy").Suffix("healthz").
		Do(ctx).Error()
}

func (l *Lab) client() (*kubernetes.Clientset, error) {
	config, err := l.RESTConfig()
	if err != nil {
		return nil, err
	}
	config.Timeout = 5 * time.Second
	return kubernetes.NewForConfig(config)
}

// withLog adds the last lines of a component's log to an error.
func (l *Lab) withLog(err error, component string) error {
	path := filepath.Join(sandbox.LogFolder(l.folders.state), component+".log")
	data, readErr := os.ReadFile(path)
	if readErr != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	end := bytes.Join(lines[max(0, len(lines)-10):], []byte("\n"))
	return fmt.Errorf("%w\nlast lines of %s:\n%s", err, path, end)
}
