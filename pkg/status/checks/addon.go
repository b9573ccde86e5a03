// SPDX-License-Identifier: Apache-2.0

package checks

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/status"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
)

// checkAddOn checks the Deployments of the add-on: whether they run, which version they are, and whether the API server
// reaches them.
func checkAddOn(ctx context.Context, c *Cluster) []status.Check {
	object := own("apps", "Deployment", manifests.Controller)
	switch {
	case c.AddOn.Err != nil:
		return one(Unreadable(status.PartAddOn, status.CheckDeployment, object.String(), c.AddOn.Err))
	case c.AddOn.Deployment == nil:
		return one(status.Check{
			Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Fail,
			Object: object, Message: "the add-on is not installed", Next: c.enableCommand(),
		})
	}
	return runAll(ctx, c, checkAvailability, checkVersion, checkImages, checkWebhookPort, checkKeeper)
}

// checkAvailability checks whether all replicas serve, in the state that was wanted last.
func checkAvailability(ctx context.Context, c *Cluster) []status.Check {
	d, a := c.AddOn.Deployment, c.AddOn.report()
	check := status.Check{
		Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Pass,
		Message: fmt.Sprintf("%d of %d replicas are available", a.Available, a.Replicas),
	}
	complete, missing := enable.Available(ctx, c.Clients.Kube, d)
	if complete {
		return one(check)
	}
	check.Object = own("apps", "Deployment", manifests.Controller)
	check.Status = verify.Warn
	check.Expected = fmt.Sprintf("%d replicas of the latest state, all available", a.Replicas)
	check.Got = fmt.Sprintf("%d updated, %d available: %s", a.Updated, a.Available, missing)
	check.Message = "not all replicas serve"
	check.Next = "kubectl describe pods -n " + manifests.Namespace
	if a.Available == 0 {
		check.Status, check.Message = verify.Fail, "no replica serves: nothing is signed or verified"
	}
	return one(check)
}

// checkVersion compares the add-on with the plugin, and the add-on's label with its images.
func checkVersion(_ context.Context, c *Cluster) []status.Check {
	_, signer := splitImage(c.AddOn.env(manifests.EnvSignerImage), "/signer")
	label, image := c.AddOn.Deployment.Labels[manifests.LabelVersion], c.AddOn.Version
	check := status.Check{Part: status.PartAddOn, ID: status.CheckVersion, Status: verify.Pass, Message: image}
	switch {
	case label != image || signer != image:
		check.Object, check.Status = own("apps", "Deployment", manifests.Controller), verify.Fail
		check.Message, check.Next = "the add-on's versions disagree", c.enableCommand()
		check.Expected = "one version"
		check.Got = fmt.Sprintf("label %s %q, controller %q, signer %q", manifests.LabelVersion, label, image, signer)
	case !c.sameVersion():
		check.Status = verify.Warn
		check.Expected, check.Got = c.Options.Version+", the version of this plugin", image
		check.Message = "the add-on is of another version than this plugin"
		check.Next = fmt.Sprintf("use the plugin of version %s, or bring the add-on to %s: %s",
			image, c.Options.Version, c.enableCommand())
	}
	return one(check)
}

// checkImages notes where the images are from, if that is not where releases are published. Only the user knows whether
// that is right.
func checkImages(_ context.Context, c *Cluster) []status.Check {
	if c.AddOn.Registry == manifests.DefaultRegistry {
		return nil
	}
	return one(note(status.PartAddOn, status.CheckImages, "from %s, and not from %s, where releases are published",
		c.AddOn.Registry, manifests.DefaultRegistry))
}

// checkWebhookPort checks whether the API server can call the add-on. Where the user may not ask it, nothing is
// reported.
func checkWebhookPort(ctx context.Context, c *Cluster) []status.Check {
	if c.AddOn.Deployment.Status.AvailableReplicas == 0 {
		return nil // checkAvailability reports it
	}
	reason := enable.Unreached(ctx, c.Clients.Kube)
	if reason == "" {
		return nil
	}
	return one(status.Check{
		Part: status.PartAddOn, ID: status.CheckWebhookPort, Status: verify.Fail,
		Object: own("", "Service", manifests.Controller),
		Message: reason + ": nothing is signed or verified, every TaskRun waits for the webhooks' timeouts, " +
			"and where results are enforced none runs",
		Next: enable.OpenPort(),
	})
}

// checkKeeper checks whether the keeper runs. checkObjects reports a keeper that is missing.
func checkKeeper(ctx context.Context, c *Cluster) []status.Check {
	object := own("apps", "Deployment", manifests.Keeper)
	d, err := c.Clients.Kube.AppsV1().Deployments(manifests.Namespace).Get(ctx, manifests.Keeper, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		return one(Unreadable(status.PartAddOn, status.CheckDeployment, object.String(), err))
	}
	complete, missing := enable.Available(ctx, c.Clients.Kube, d)
	if complete {
		return one(pass(status.PartAddOn, status.CheckDeployment, "the keeper is available"))
	}
	return one(status.Check{
		Part: status.PartAddOn, ID: status.CheckDeployment, Status: verify.Warn,
		Object: object, Message: "the keeper does not run",
		Expected: "1 replica of the latest state, available", Got: missing,
		Next: "kubectl describe pods -n " + manifests.Namespace,
	})
}
