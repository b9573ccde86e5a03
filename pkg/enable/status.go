// SPDX-License-Identifier: Apache-2.0

package enable

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// StatusOptions say how to look.
type StatusOptions struct {
	Program         string // how the user calls the plugin, for next steps
	Version         string // of the plugin
	TektonNamespace string // empty: found
	Verdicts        int    // how many of the newest verdicts to show; 0: TaskRuns are not looked at
	Now             func() time.Time
}

// GetStatus looks at everything that signing consists of and compares it with the settings. It reads only. What the user may
// not read is a check of its own and does not keep the rest from being looked at; an error means that the cluster could not be
// asked at all.
func GetStatus(ctx context.Context, c Clients, o StatusOptions) (*status.Status, error) {
	version, err := c.Kube.Discovery().ServerVersion()
	if err != nil && !IsForbidden(err) {
		return nil, fmt.Errorf("asking the API server for its version: %w", err)
	}
	l := &look{Clients: c, options: o, status: &status.Status{}}
	if version != nil {
		l.status.Environment.Kubernetes = version.GitVersion
	}
	l.findTekton(ctx)
	l.readSettings(ctx)
	l.readAddOn(ctx)
	l.settingsGone()
	l.listNamespaces(ctx)
	if l.off() {
		l.leftOver(ctx)
	} else {
		l.modes()
		l.level()
		l.lookAtAddOn(ctx)
		l.waitingPods(ctx)
		l.deliveries(ctx)
		l.compareObjects(ctx)
		l.compareGrants(ctx)
		l.lookAtTekton(ctx)
		l.lookForOthers(ctx)
		l.verdicts(ctx)
	}
	l.status.Checks = sorted(l.status.Checks)
	l.status.Conclude(l.off())
	return l.status, nil
}

// look is what one look at a cluster knows so far.
type look struct {
	Clients
	options StatusOptions
	status  *status.Status

	settings    settings.Settings // good if known
	known       bool              // the settings were read, or there are none and no add-on either
	noSettings  bool              // there is no ConfigMap
	account     string            // service account of Tekton's controller, empty if not seen
	controller  Controller        // of Tekton, its namespace empty if not seen
	deployment  addOnDeployment
	namespaces  []knownNamespace
	listed      bool     // namespaces is complete
	large       []string // TaskRuns that are too large to be recorded
	registry    string
	sameVersion bool // the add-on is of the plugin's version, so that their manifests are the same
}

// off reports whether the settings turn signing off.
func (l *look) off() bool {
	return l.known && l.settings.Backend == signing.BackendNone
}

func (l *look) add(c status.Check) { l.status.Checks = append(l.status.Checks, c) }

func (l *look) pass(part status.Part, id status.CheckID, format string, args ...any) {
	l.add(status.Check{Part: part, ID: id, Status: verify.Pass, Message: fmt.Sprintf(format, args...)})
}

func (l *look) note(part status.Part, id status.CheckID, format string, args ...any) {
	l.add(status.Check{Part: part, ID: id, Status: verify.Note, Message: fmt.Sprintf(format, args...)})
}

// unreadable says that something could not be looked at.
func (l *look) unreadable(part status.Part, id status.CheckID, what string, err error) {
	check := status.Check{Part: part, ID: id, Status: verify.Unknown, Message: fmt.Sprintf("%s: %v", what, err)}
	switch {
	case apierrors.IsForbidden(err):
		check.Message = "you may not read " + what
		check.Next = "ask a cluster administrator for that permission"
	case apierrors.IsUnauthorized(err):
		check.Message = "the cluster does not know you: " + err.Error()
		check.Next = "log in again, or check the user of your kubeconfig's context"
	}
	l.add(check)
}

// enable is the command that brings the installation back to what its settings say.
func (l *look) enable() string {
	if !l.known || l.settings.Backend == signing.BackendNone {
		return l.options.Program + " enable BACKEND, with the flags of your installation"
	}
	return l.options.Program + " " + Command(l.settings, l.registry)
}

// findTekton finds the namespace of Tekton. Whoever may not look for it in the whole cluster is taken to have it where its
// releases install it.
func (l *look) findTekton(ctx context.Context) {
	namespace := l.options.TektonNamespace
	if namespace == "" {
		// An installation may outlive its Tekton, and there may be several of those.
		namespace, _ = FindTektonNamespace(ctx, l.Clients)
	}
	controller, err := findTekton(ctx, l.Kube, namespace)
	switch {
	case err == nil:
		namespace = controller.Namespace
		l.account, l.controller = controller.Account, controller
		l.status.Environment.Tekton = controller.Version
		l.pass(status.PartTekton, status.CheckTekton, "version %s", cmp.Or(l.status.Environment.Tekton, "unknown"))
	case IsForbidden(err):
		where := "all namespaces"
		if namespace != "" {
			where = "namespace " + namespace
		}
		l.unreadable(status.PartTekton, status.CheckTekton, "the Deployments and StatefulSets of "+where, err)
	default:
		l.add(status.Check{Part: status.PartTekton, ID: status.CheckTekton, Status: verify.Fail, Message: err.Error()})
	}
	l.status.Environment.TektonNamespace = cmp.Or(namespace, stockNamespace)
}

// knownNamespace is what is known of a namespace.
type knownNamespace struct {
	name    string
	labels  map[string]string
	inScope bool
	young   bool // created just now: the add-on may not have seen it
}

// listPage bounds one answer.
const listPage = 500

// settling is how long the add-on may take to see a namespace.
const settling = 30 * time.Second

// listNamespaces reads the namespaces that are not being deleted.
func (l *look) listNamespaces(ctx context.Context) {
	inScope := l.settings.Scope.Matcher(settings.Reserved(l.status.Environment.TektonNamespace))
	options := metav1.ListOptions{Limit: listPage}
	for {
		page, err := l.Kube.CoreV1().Namespaces().List(ctx, options)
		if err != nil {
			if !l.off() {
				l.unreadable(status.PartSettings, status.CheckNamespaces, "the list of namespaces", err)
			}
			return
		}
		for i := range page.Items {
			ns := &page.Items[i]
			if ns.DeletionTimestamp == nil {
				l.namespaces = append(l.namespaces, knownNamespace{
					name: ns.Name, labels: ns.Labels, inScope: l.known && inScope(ns.Labels),
					young: l.options.Now().Sub(ns.CreationTimestamp.Time) < settling,
				})
			}
		}
		if options.Continue = page.Continue; options.Continue == "" {
			l.listed = true
			return
		}
	}
}

func own(group, kind, name string) *status.Object {
	return &status.Object{Group: group, Kind: kind, Namespace: manifests.Namespace, Name: name}
}
