// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"golang.org/x/sync/errgroup"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/names"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/object"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// readers is how many objects are read at once.
const readers = 8

// maxDifferences is how many fields of one object are reported.
const maxDifferences = 4

// liveObject is an object of the installation, and what the cluster has in its place.
type liveObject struct {
	wanted, live *unstructured.Unstructured // live is nil if there is none
	err          error                      // why it was not read
}

// checkObjects compares every object of the installation that the settings ask for with the cluster's.
func checkObjects(ctx context.Context, c *Cluster) []status.Check {
	wanted, err := c.wantedObjects()
	if err != nil {
		const what = "the manifests of this plugin"
		return one(Unreadable(status.PartInstallation, status.CheckObjects, what, err))
	}
	var checks []status.Check
	good, unread := 0, map[string][]string{} // names, by what could not be read and why
	for _, o := range readAll(ctx, c, wanted) {
		if what := o.unread(); what != "" {
			unread[what] = append(unread[what], o.wanted.GetName())
			continue
		}
		if o.secret() {
			continue
		}
		found := o.check(c)
		if checks = append(checks, found...); len(found) == 0 {
			good++
		}
	}
	return append(append(checks, reportUnread(unread)...), reportGood(c, good)...)
}

// secret reports whether the object is a Secret that the user may not read. Nobody needs to: checkCertificate reports
// it.
func (o liveObject) secret() bool { return enable.IsForbidden(o.err) && o.wanted.GetKind() == "Secret" }

// unread returns the kind of an object that could not be read, and why.
func (o liveObject) unread() string {
	switch {
	case o.err == nil, apierrors.IsNotFound(o.err), o.secret():
		return ""
	case enable.IsForbidden(o.err):
		return object.GVR(o.wanted).Resource + ": you may not read them"
	}
	return object.GVR(o.wanted).Resource + ": " + o.err.Error()
}

// readAll reads the cluster's object of each kind and name, several at once.
func readAll(ctx context.Context, c *Cluster, wanted []*unstructured.Unstructured) []liveObject {
	objects := make([]liveObject, len(wanted))
	var group errgroup.Group
	group.SetLimit(readers)
	for i, w := range wanted {
		group.Go(func() error {
			live, err := c.read(ctx, w)
			if err != nil {
				live = nil
			}
			objects[i] = liveObject{wanted: w, live: live, err: err}
			return nil
		})
	}
	_ = group.Wait() // each object has its own error
	return objects
}

// read reads the cluster's object of the same kind and name.
func (c *Cluster) read(ctx context.Context, like *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	return object.Client(c.Clients.Dynamic, like).Get(ctx, like.GetName(), metav1.GetOptions{})
}

func reportUnread(unread map[string][]string) []status.Check {
	var checks []status.Check
	for _, what := range slices.Sorted(maps.Keys(unread)) {
		checks = append(checks, status.Check{
			Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Unknown,
			Message: what + " (" + names.Few(unread[what]) + ")",
			Next:    "ask a cluster administrator for the permission to get them",
		})
	}
	return checks
}

// reportGood reports how many objects are in order.
func reportGood(c *Cluster, n int) []status.Check {
	switch {
	case n == 0:
		return nil
	case c.Known():
		return one(pass(status.PartInstallation, status.CheckObjects, "%d objects are as enable makes them", n))
	}
	return []status.Check{
		pass(status.PartInstallation, status.CheckObjects, "%d objects are there", n),
		{
			Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Unknown,
			Message: "how the objects should be cannot be told without the settings",
		},
	}
}

// wantedObjects renders the installation, without ConfigMap config-signing.
func (c *Cluster) wantedObjects() ([]*unstructured.Unstructured, error) {
	objects, err := manifests.Render(c.renderOptions())
	if err != nil {
		return nil, err
	}
	var wanted []*unstructured.Unstructured
	for _, typed := range objects {
		u, err := object.From(typed)
		if err != nil {
			return nil, err
		}
		if !object.IsSettings(u) {
			wanted = append(wanted, u)
		}
	}
	return wanted, nil
}

// renderOptions takes from the Deployment where its images are from and which version they are, which have checks of
// their own, and the account of Tekton's controller where that is not found.
func (c *Cluster) renderOptions() manifests.Options {
	return manifests.Options{
		TektonNamespace: c.Tekton.Namespace,
		TektonAccount:   cmp.Or(c.Tekton.Controller.Account, c.AddOn.env(manifests.EnvTektonAccount)),
		Registry:        c.AddOn.Registry, Version: c.AddOn.Version, Settings: c.Settings.Settings,
	}
}

// check reports the differences between an object and the wanted one.
func (o liveObject) check(c *Cluster) []status.Check {
	check := status.Check{
		Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Fail,
		Object: nameOf(o.wanted), Next: c.enableCommand(),
	}
	switch {
	case o.wanted.GetKind() == "Deployment" && c.AddOn.Deployment == nil:
		return nil // checkAddOn reports it, and without the Deployment the images are not known
	case o.live == nil:
		check.Message = "is missing"
		return one(c.forVersion(check))
	case o.live.GetDeletionTimestamp() != nil:
		check.Message = "is being deleted"
		return one(check)
	case !c.Known():
		return nil
	}
	checks := o.checkAuthorities()
	differences := compareObject(o.wanted, o.live)
	for i, d := range differences[:min(len(differences), maxDifferences)] {
		differs := check
		differs.Message, differs.Field, differs.Expected, differs.Got = "was changed", d.path, d.expected, d.got
		if rest := len(differences) - maxDifferences; i == maxDifferences-1 && rest > 0 {
			differs.Message = fmt.Sprintf("was changed in this and %d more fields", rest)
		}
		if tuned(o.wanted.GetKind(), d.path) {
			differs.Status = verify.Warn
		}
		checks = append(checks, c.forVersion(differs))
	}
	return checks
}

// forVersion turns a failed comparison with the manifests of another version into an unknown one: what differs may
// belong to the version of the add-on.
func (c *Cluster) forVersion(check status.Check) status.Check {
	if c.AddOn.Deployment == nil || c.sameVersion() || check.Status != verify.Fail {
		return check
	}
	check.Status = verify.Unknown
	check.Message += fmt.Sprintf(
		", compared with version %s; the add-on is %s, of which this plugin does not know how it should be",
		c.Options.Version, cmp.Or(c.AddOn.Version, "of unknown version"))
	check.Next = "use the plugin of the add-on's version, or bring the add-on to this one: " + c.enableCommand()
	return check
}

// checkAuthorities reports webhooks without a certificate authority. The add-on writes the authorities: they are
// removed from the live object, so that they are not compared.
func (o liveObject) checkAuthorities() []status.Check {
	if !object.IsWebhooks(o.wanted) {
		return nil
	}
	var without []string
	for _, webhook := range object.Webhooks(o.live) {
		name, _ := webhook["name"].(string)
		authority, _, _ := unstructured.NestedString(webhook, "clientConfig", "caBundle")
		if authority == "" {
			without = append(without, name)
		}
		unstructured.RemoveNestedField(webhook, "clientConfig", "caBundle")
	}
	if len(without) == 0 {
		return nil
	}
	return one(status.Check{
		Part: status.PartInstallation, ID: status.CheckObjects, Status: verify.Fail, Object: nameOf(o.wanted),
		Field: "clientConfig.caBundle", Expected: "the add-on's certificate authority", Got: "none in " + names.Few(without),
		Message: "cannot be called", Next: "kubectl logs -n " + manifests.Namespace + " deployment/" + manifests.Keeper,
	})
}

// tuned reports whether cluster administrators may have reasons to change the field: neither signing nor enforcement
// depends on it.
func tuned(kind, path string) bool {
	switch {
	case strings.HasPrefix(path, "metadata.labels"):
		return true
	case kind == "PodDisruptionBudget" || kind == "PriorityClass" || kind == "Namespace":
		return true
	case kind != "Deployment":
		return false
	}
	return slices.ContainsFunc([]string{
		"spec.replicas", "spec.strategy", "spec.minReadySeconds", "spec.template.spec.affinity",
		"spec.template.spec.nodeSelector", "spec.template.spec.topologySpreadConstraints",
		"spec.template.spec.priorityClassName", "spec.template.spec.terminationGracePeriodSeconds",
		"spec.template.spec.containers[controller].resources",
	}, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func nameOf(u *unstructured.Unstructured) *status.Object {
	return &status.Object{
		Group: u.GroupVersionKind().Group, Kind: u.GetKind(), Namespace: u.GetNamespace(), Name: u.GetName(),
	}
}
