// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/selftest"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// selftestOptions are the flags of selftest.
type selftestOptions struct {
	namespaces     []string
	all            bool
	serviceAccount string
	timeout        time.Duration
	keep           bool
	output         string
}

func newSelftestCommand(e *env) *cobra.Command {
	o := &selftestOptions{}
	cmd := &cobra.Command{
		Use:   "selftest",
		Short: "Run a canary TaskRun, and show that it is signed and verified",
		Long: `Run a canary TaskRun in the current namespace, and show that signing works there: the canary succeeds,
its result verifies, the add-on has come to the same verdict, and a copy with a changed result is
refused. Selftest deletes the canary in the end, also after Ctrl-C. It shows how long each step took.

The canary has one step, which runs the signer's own image and needs no other. It counts against the
namespace's quotas, and runs as the namespace's default service account unless you name another.

Exit codes. They are the same for every output format. If several apply, the first in this list counts:
  4  a step of the test failed
  1  wrong usage
  2  the cluster is out of reach, or a permission is missing
  3  signing is off
  0  signing works in every namespace`,
		Example: fmt.Sprintf(`  %[1]s selftest -n ci

  # Several namespaces, or every namespace in which signing is on
  %[1]s selftest --namespaces ci,release
  %[1]s selftest -A

  # In CI
  %[1]s selftest -A -o junit > selftest.xml`, e.name),
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), e) },
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.namespaces, "namespaces", nil, "test in these namespaces instead of the current one")
	f.BoolVarP(&o.all, "all-namespaces", "A", false, "test in every namespace in which signing is on")
	f.StringVar(&o.serviceAccount, "service-account", "",
		"service account of the canary (default: the namespace's default)")
	f.DurationVar(&o.timeout, "timeout", 3*time.Minute, "how long a canary may take")
	f.BoolVar(&o.keep, "keep", false, "do not delete the canary")
	f.StringVarP(&o.output, "output", "o", "table", "output format: "+strings.Join(report.SelftestFormats(), ", "))
	completeWords(cmd, "output", report.SelftestFormats()...)
	completeWords(cmd, "timeout", "1m", "3m")
	_ = cmd.RegisterFlagCompletionFunc("namespaces", e.completeNamespaces)
	_ = cmd.RegisterFlagCompletionFunc("service-account", cobra.NoFileCompletions)
	return cmd
}

// completeNamespaces completes names of namespaces.
func (e *env) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	names := e.names(cmd, corev1.SchemeGroupVersion.WithResource("namespaces"), "")
	return names, cobra.ShellCompDirectiveNoFileComp
}

func (o *selftestOptions) run(ctx context.Context, e *env) error {
	write, err := report.SelftestPrinter(o.output, e.color.style(e.Out, os.Getenv))
	if err != nil {
		return err
	}
	switch {
	case o.timeout < time.Second:
		return fmt.Errorf("--timeout: expected a second or more, got %s", o.timeout)
	case o.all && len(o.namespaces) > 0:
		return fmt.Errorf("expected either --namespaces or -A, got both")
	}
	results, err := o.test(ctx, e)
	if err != nil {
		err = explainCluster(err)
		return outOfReach(o.output, err, func() error { return write(report.NewSelftest(nil, err), e.Out) })
	}
	if err := write(report.NewSelftest(results, nil), e.Out); err != nil {
		return err
	}
	if !selftest.AllPassed(results) {
		return withExit(ExitFailed, nil)
	}
	return nil
}

func (o *selftestOptions) test(ctx context.Context, e *env) ([]selftest.Result, error) {
	clients, err := e.enableClients()
	if err != nil {
		return nil, err
	}
	live, err := enable.ReadLive(ctx, clients.Kube)
	if apierrors.IsNotFound(err) {
		return nil, withExit(ExitUnsigned, fmt.Errorf("signing was not enabled in this cluster: run %s enable", e.name))
	} else if err != nil {
		return nil, err
	}
	image, err := signerImage(ctx, clients, e.name)
	if err != nil {
		return nil, err
	}
	namespaces, err := o.in(ctx, e, clients, live)
	if err != nil {
		return nil, err
	}
	verifier, _, err := (&verifyOptions{skew: verify.DefaultClockSkew}).verifier(ctx, e)
	if err != nil {
		return nil, err
	}
	t := selftest.Tester{
		Client: clients.Dynamic, Image: image, ServiceAccount: o.serviceAccount, Timeout: o.timeout, Keep: o.keep,
		Now: time.Now, OnStep: selftestProgress(e, len(namespaces)),
		Verify: func(ctx context.Context, taskRun []byte) (verify.Result, error) {
			found := verifier.Live(ctx, taskRun)
			if found.Item == nil {
				return verify.Result{}, errors.Join(found.Err, errors.New("there was nothing to verify"))
			}
			return found.Item.Result, found.Err
		},
	}
	return t.Run(ctx, namespaces), nil
}

// in returns the namespaces that the flags name.
func (o *selftestOptions) in(ctx context.Context, e *env, clients enable.Clients, live enable.Live) ([]string, error) {
	switch {
	case o.all:
		return inScope(ctx, clients, live)
	case len(o.namespaces) > 0:
		return slices.Compact(slices.Sorted(slices.Values(o.namespaces))), nil
	}
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	return []string{namespace}, err
}

// inScope returns the namespaces in which signing is on.
func inScope(ctx context.Context, clients enable.Clients, live enable.Live) (names []string, err error) {
	matches := live.Settings.Scope.Matcher(settings.Reserved(live.TektonNamespace))
	err = enable.Each(ctx, clients.Kube.CoreV1().Namespaces().List, func(ns *corev1.Namespace) {
		if matches(ns.Labels) && ns.Status.Phase != corev1.NamespaceTerminating {
			names = append(names, ns.Name)
		}
	})
	if err == nil && len(names) == 0 {
		return nil, withExit(ExitUnsigned, errors.New("signing is on in no namespace: see the scope in status"))
	}
	return names, err
}

// signerImage returns the image that the running add-on delivers to pods.
func signerImage(ctx context.Context, clients enable.Clients, program string) (string, error) {
	d, err := clients.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Controller, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "", withExit(ExitUnsigned, fmt.Errorf("the add-on is not installed: run %s enable", program))
	} else if err != nil {
		return "", err
	}
	for _, c := range d.Spec.Template.Spec.Containers {
		for _, variable := range c.Env {
			if variable.Name == manifests.EnvSignerImage && variable.Value != "" {
				return variable.Value, nil
			}
		}
	}
	return "", withExit(ExitIndeterminate, fmt.Errorf("deployment %s/%s does not name the signer's image: run %s status",
		manifests.Namespace, manifests.Controller, program))
}

// selftestProgress shows each step on a terminal.
func selftestProgress(e *env, namespaces int) func(string, selftest.Step) {
	if !isTerminal(e.ErrOut) {
		return func(string, selftest.Step) {}
	}
	var mu sync.Mutex
	done := 0
	return func(namespace string, s selftest.Step) {
		mu.Lock()
		defer mu.Unlock()
		line := fmt.Sprintf("%s: %s: %s", display.Short(namespace, display.DefaultWidth), s.ID.Title(), s.State)
		if s.ID == selftest.StepCleanUp {
			done++
		}
		if done == namespaces {
			line = ""
		}
		fmt.Fprintf(e.ErrOut, "\r\033[K%s", line)
	}
}
