// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// enableOptions are the flags of enable.
type enableOptions struct {
	namespaces      []string
	selector        string
	delivery        string
	guard           guardOptions
	tokens          tokenOptions
	trusted         trustedOptions
	images          imageOptions
	tektonNamespace string
	output          string
	change          changeOptions
}

func newEnableCommand(e *env) *cobra.Command {
	o := &enableOptions{}
	cmd := &cobra.Command{
		Use:   "enable BACKEND",
		Short: "Turn signing on",
		Long: `Turn signing on for the TaskRuns of this cluster, or of some of its namespaces.

Installs the add-on (namespace tekton-sign), the admission policies, and the settings (ConfigMap config-signing in Tekton's
namespace). It shows what it will change and asks before it does, then waits until the add-on serves. Running it again changes
nothing; an interrupted run is finished by the next one.

Before it changes anything, a few short pods show whether nodes get the signer's image. Where one cannot pull it, nothing is changed:
name a Secret for the registry (--pull-secret), or another registry (--registry).

The backend of this version is oidc-sa-token: every step is vouched for by a token of its own service account.

Enforcement: audit records the verdict in the condition SignedResultsVerified; enforce also fails a TaskRun whose results do not
verify, and takes its results away. Label a namespace tekton-sign.dev/enforcement=audit or =enforce for another mode than the
rest. To change the mode, run enable with another --enforcement, edit the ConfigMap or set the label: it holds at once. Turning
enforcement on shows how many TaskRuns are running unsigned, which will fail.

Policies: standard says who may obtain signing tokens, who may take a namespace out of enforcement, and what the settings may
hold; strict also who may make, enter or imitate a TaskRun's pod, who may make a part of a PipelineRun, and who writes status. Without the flag they are strict in
the namespaces whose mode is enforce. --policies standard together with --enforcement enforce gives that up.

The plan names the service accounts that may request tokens today and will get signing tokens only, once results are signed in their
namespace. --exempt-service-account keeps the right of one.

One controller of Tekton runs the TaskRuns in the namespaces in scope: enable refuses to start where a second one does. Tekton may run as a
Deployment or as a StatefulSet. Where the API server does not reach the add-on (port 8443), enable removes the webhooks that it made.

What is not named stays as the cluster has it, where a default could weaken it: enforcement, policies, minimum format, kept
material, the gate of Chains, exempt service accounts, trusted controllers, pull secrets and the audience. Everything else has its default again, the namespaces,
too. If the ConfigMap cannot be read, enable asks you to name enforcement and policies. The manifests of --output hold what the flags say,
and nothing from the cluster.

Exit codes: 0 signing is on, 1 wrong usage or a failure, 2 the cluster is out of reach or a permission is missing.`,
		Example: fmt.Sprintf(`  # What would change, in all namespaces
  %[1]s enable oidc-sa-token --dry-run=server

  # Two namespaces, without being asked
  %[1]s enable oidc-sa-token --namespaces ci,release --yes

  # Fail what does not verify
  %[1]s enable oidc-sa-token --enforcement enforce

  # Stop everything at once, if the add-on keeps TaskRuns from completing
  kubectl delete mutatingwebhookconfiguration tekton-sign-inject tekton-sign-status tekton-sign-chains

  # The manifests, to keep them in Git
  %[1]s enable oidc-sa-token --dry-run=client -o yaml`, e.name),
		Args:      cobra.ExactArgs(1),
		ValidArgs: []string{string(signing.BackendOIDCSAToken)},
		RunE: func(cmd *cobra.Command, args []string) error {
			o.trusted.given(cmd.Flags())
			o.images.given(cmd.Flags())
			o.guard.given(cmd.Flags())
			o.tokens.given(cmd.Flags())
			return o.run(cmd.Context(), e, args[0])
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&o.namespaces, "namespaces", nil, "sign in these namespaces only (comma-separated; default: all)")
	f.StringVar(&o.selector, "namespace-selector", "", "sign in the namespaces with these labels, for example team=ci")
	o.guard.addFlags(f)
	f.StringVar(&o.delivery, "delivery", string(settings.DeliveryAuto),
		"how the signer reaches a pod: auto, image (an image volume), init (an init container)")
	o.tokens.addFlags(f)
	o.trusted.addFlags(f)
	o.images.addFlags(f)
	f.StringVar(&o.tektonNamespace, "tekton-namespace", "", "namespace of Tekton's controller (default: found by its labels)")
	f.StringVarP(&o.output, "output", "o", "", "with --dry-run=client: print the manifests as yaml or json")
	o.change.addFlags(f)
	completeWords(cmd, "enforcement", settings.Audit, settings.Enforce)
	completeWords(cmd, "policies", policiesAuto, settings.PoliciesStandard, settings.PoliciesStrict)
	completeWords(cmd, "minimum-format", signing.Formats()...)
	completeWords(cmd, "delivery", settings.DeliveryAuto, settings.DeliveryImage, settings.DeliveryInit)
	completeWords(cmd, "format", signing.Formats()...)
	completeWords(cmd, "binding", signing.Bindings()...)
	return cmd
}

func (o *enableOptions) run(ctx context.Context, e *env, backend string) error {
	request, err := o.request(backend)
	if err != nil {
		return err
	}
	if err := o.checkOutput(); err != nil {
		return err
	}
	if o.output != "" && o.tektonNamespace != "" { // needs nothing from the cluster
		return o.printManifests(e.Out, request, enable.Environment{TektonNamespace: o.tektonNamespace})
	}
	clients, err := e.enableClients()
	if err != nil {
		return err
	}
	environment, err := enable.Inspect(ctx, clients.Kube, o.tektonNamespace)
	if err != nil {
		return clusterError(err)
	}
	if o.output != "" {
		return o.printManifests(e.Out, request, environment)
	}
	plan, err := enable.PlanEnable(ctx, clients, environment, request)
	if err != nil {
		return clusterError(err)
	}
	return o.carryOut(ctx, e, clients, plan)
}

// request turns the flags into what is wanted.
func (o *enableOptions) request(backend string) (enable.Request, error) {
	s := settings.Default()
	var err error
	if s.Backend, err = signing.ParseBackend(backend); err != nil {
		return enable.Request{}, err
	}
	if s.Backend == signing.BackendNone {
		return enable.Request{}, fmt.Errorf("backend none means no signing: use disable")
	}
	if err := o.guard.set(&s); err != nil {
		return enable.Request{}, err
	}
	if s.Delivery, err = settings.ParseDelivery(o.delivery); err != nil {
		return enable.Request{}, fmt.Errorf("--delivery: %w", err)
	}
	if s.Scope, err = settings.NewScope(o.namespaces, o.selector); err != nil {
		return enable.Request{}, fmt.Errorf("--namespaces, --namespace-selector: %w", err)
	}
	if err := o.tokens.set(&s); err != nil {
		return enable.Request{}, err
	}
	if err := o.trusted.set(&s); err != nil {
		return enable.Request{}, err
	}
	if err := o.images.set(&s); err != nil {
		return enable.Request{}, err
	}
	if err := s.Supported(); err != nil {
		return enable.Request{}, err
	}
	keep := o.guard.keep
	keep.Audience = !o.tokens.audienceGiven
	o.trusted.keep(&keep)
	o.images.keep(&keep)
	return enable.Request{
		Settings: s, Keep: keep,
		Registry: strings.TrimSuffix(o.images.registry, "/"), Version: version.Get().Version,
	}, nil
}

func (o *enableOptions) checkOutput() error {
	switch {
	case o.output == "":
		return nil
	case o.output != "yaml" && o.output != "json":
		return fmt.Errorf("--output: expected yaml or json, got %q", o.output)
	case o.change.dryRun != "client":
		return fmt.Errorf("--output prints manifests and needs --dry-run=client")
	}
	return nil
}

func (o *enableOptions) printManifests(w io.Writer, r enable.Request, environment enable.Environment) error {
	objects, err := r.Desired(environment)
	if err != nil {
		return err
	}
	if o.output == "json" {
		return printJSONList(w, objects)
	}
	for i, object := range objects {
		content, err := yaml.Marshal(object.Object)
		if err != nil {
			return fmt.Errorf("encoding a manifest: %w", err)
		}
		if i > 0 {
			fmt.Fprintln(w, "---")
		}
		if _, err := w.Write(content); err != nil {
			return err
		}
	}
	return nil
}

// carryOut shows the plan and, if it is to be and the user agrees, applies it.
func (o *enableOptions) carryOut(ctx context.Context, e *env, c enable.Clients, plan enable.Plan) error {
	fmt.Fprintf(e.ErrOut, "Kubernetes %s, Tekton %s in namespace %s\n", display.Safe(plan.Environment.KubernetesVersion),
		display.Safe(orUnknown(plan.Environment.TektonVersion)), display.Safe(plan.Environment.TektonNamespace))
	fmt.Fprintf(e.ErrOut, "Signing: %s, %s, policies %s, %s, delivery %s, format %s, tokens bound to the %s\n\n",
		plan.Settings.Backend, plan.Settings.Enforcement, describePolicies(plan.Settings.Policies), plan.Settings.Scope,
		plan.Settings.Delivery, plan.Settings.Format, plan.Settings.Binding)
	if err := plan.WriteText(e.Out, display.Safe); err != nil {
		return err
	}
	if plan.Empty() {
		fmt.Fprintln(e.Out, "\nNothing to change.")
	} else {
		fmt.Fprintf(e.Out, "\n%s\n", plan.Summary())
	}
	warn(e, plan)
	for _, obstacle := range plan.Obstacles {
		fmt.Fprintf(e.ErrOut, "\nwill be refused: %s\n", display.Safe(obstacle))
	}
	switch o.change.dryRun {
	case "client":
		return nil
	case "server":
		return clusterError(plan.DryRun(ctx, c, e.progress()))
	}
	if err := plan.CheckObstacles(); err != nil {
		return err
	}
	if !plan.Empty() {
		if err := plan.CheckPermissions(ctx, c); err != nil {
			return clusterError(err)
		}
		if err := o.change.confirm(e); err != nil {
			return err
		}
	}
	if err := plan.Apply(ctx, c, o.change.timeout, e.progress()); err != nil {
		return clusterError(err)
	}
	fmt.Fprintf(e.ErrOut, `
Signing is on. TaskRuns that start from now on are signed and verified:
  kubectl create -f a-taskrun.yaml
  %[1]s verify taskrun/NAME
Turn it off with: %[1]s disable
`, e.name)
	return nil
}

// warn prints what whoever agrees to the plan should know.
func warn(e *env, plan enable.Plan) {
	for _, warning := range plan.Warnings {
		fmt.Fprintf(e.ErrOut, "\nwarning: %s\n", display.Safe(warning))
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "of unknown version"
	}
	return s
}

// enableClients connects to the cluster of the user's kubeconfig.
func (e *env) enableClients() (enable.Clients, error) {
	config, err := e.restConfig()
	if err != nil {
		return enable.Clients{}, err
	}
	config.QPS, config.Burst = 50, 100 // a plan is some fifty requests, and a person waits for it
	kube, err := kubeclient.New(config)
	if err != nil {
		return enable.Clients{}, fmt.Errorf("connecting to the cluster: %w", err)
	}
	dyn, err := dynamic.NewForConfig(config)
	if err != nil {
		return enable.Clients{}, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return enable.Clients{Kube: kube, Dynamic: dyn}, nil
}

// progress prints lines for people, with the time passed since the first.
func (e *env) progress() enable.Progress {
	start := time.Now()
	return func(format string, args ...any) {
		fmt.Fprintf(e.ErrOut, "%5.1fs  %s\n", time.Since(start).Seconds(), display.Safe(fmt.Sprintf(format, args...)))
	}
}
