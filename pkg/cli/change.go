// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
)

// changeOptions are the flags of all commands that change a cluster.
type changeOptions struct {
	dryRun  string
	yes     bool
	timeout time.Duration
}

func (o *changeOptions) addFlags(f *pflag.FlagSet) {
	f.Var(newChoice(&o.dryRun, "none", "client", "server"), "dry-run",
		"none; client: only show the plan; server: the API server also checks the plan")
	f.BoolVar(&o.yes, "yes", false, "do not ask")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long to wait for the cluster")
}

// confirm asks the user on a terminal. Without a terminal it requires --yes.
func (o *changeOptions) confirm(e *env) error {
	if o.yes {
		return nil
	}
	if !isTerminal(e.In) {
		return fmt.Errorf("this command changes the cluster, and cannot ask without a terminal: " +
			"read the plan and add --yes")
	}
	fmt.Fprint(e.ErrOut, "\nGo ahead? [y/N] ")
	answer, err := bufio.NewReader(io.LimitReader(e.In, 80)).ReadString('\n')
	if err != nil && answer == "" {
		return fmt.Errorf("no answer: nothing was changed")
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return fmt.Errorf("not confirmed: nothing was changed")
}

// choice is a flag that takes one of a few values.
type choice struct {
	value *string
	known []string
}

// newChoice returns a flag over value, which starts as the first of known.
func newChoice(value *string, known ...string) *choice {
	*value = known[0]
	return &choice{value: value, known: known}
}

func (c *choice) String() string { return *c.value }
func (c *choice) Type() string   { return strings.Join(c.known, "|") }

func (c *choice) Set(s string) error {
	for _, k := range c.known {
		if s == k {
			*c.value = s
			return nil
		}
	}
	return fmt.Errorf("expected one of %s, got %q", strings.Join(c.known, ", "), s)
}

// printJSONList prints objects as one List.
func printJSONList(w io.Writer, objects []*unstructured.Unstructured) error {
	items := make([]any, len(objects))
	for i, object := range objects {
		items[i] = object.Object
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
}

// clusterError adds an exit code and a next step to an error of a command that changes a cluster.
func clusterError(err error) error {
	switch {
	case enable.IsForbidden(err):
		return explainCluster(err)
	case kubeclient.IsNetworkError(err):
		return withExit(ExitIndeterminate,
			fmt.Errorf("the cluster is out of reach: %w: check the server of your kubeconfig's context", err))
	}
	return err
}
