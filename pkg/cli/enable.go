// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/backends"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable/manifests"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/version"
)

// enableOptions are the flags of enable.
type enableOptions struct {
	registry        string
	tektonNamespace string
	output          string
	render          string // folder
	change          changeOptions
}

func newEnableCommand(e *env) *cobra.Command {
	o := &enableOptions{}
	cmd := &cobra.Command{
		Use:       "enable BACKEND",
		Short:     "Turn signing on",
		Long:      enableHelp(),
		Example:   enableExample(e.name),
		Args:      oneBackend,
		ValidArgs: backends.Names(backends.Enabled()),
		RunE:      func(cmd *cobra.Command, args []string) error { return o.run(cmd.Context(), e, cmd.Flags(), args[0]) },
	}
	addSettings(cmd)
	f := cmd.Flags()
	o.addClusterFlags(f)
	f.StringVarP(&o.output, "output", "o", "", "with --dry-run=client: print the manifests as yaml or json")
	f.StringVar(&o.render, "render", "",
		"write the manifests into this folder, for kubectl apply -k and GitOps, and apply nothing")
	o.change.addFlags(f)
	return cmd
}

// addClusterFlags adds the flags that say what an installation has to fit, besides the settings.
func (o *enableOptions) addClusterFlags(f *pflag.FlagSet) {
	f.StringVar(&o.registry, "registry", manifests.DefaultRegistry, "where the images are")
	f.StringVar(&o.tektonNamespace, "tekton-namespace", "",
		"namespace of Tekton's controller (default: found by its labels)")
}

// enableExample is the examples in the help text of enable.
func enableExample(program string) string {
	names := strings.NewReplacer("PROGRAM", program, "BACKEND", string(backends.Enabled()[0].Name))
	return names.Replace(`  # See what would change, in all namespaces
  PROGRAM enable BACKEND --dry-run=server

  # Turn signing on in two namespaces, without a question
  PROGRAM enable BACKEND --namespaces ci,release --yes

  # Fail TaskRuns that do not verify
  PROGRAM enable BACKEND --enforcement enforce

  # Stop everything at once, if the add-on keeps TaskRuns from completing
  kubectl delete mutatingwebhookconfigurations -l app.kubernetes.io/part-of=tekton-sign

  # Write the manifests, to keep them in Git: in one file, or in a folder for kustomize
  PROGRAM enable BACKEND --dry-run=client -o yaml
  PROGRAM enable BACKEND --render deploy/tekton-sign`)
}

// enableHelp is the long help text of enable.
func enableHelp() string {
	return `Turn signing on for the TaskRuns of this cluster, or of some of its namespaces.

Enable installs the add-on (namespace tekton-sign), the admission policies, and the settings (ConfigMap
config-signing in Tekton's namespace). It shows its plan and asks before it changes anything. Then it
waits until the add-on serves. You can run it again at any time: it changes nothing if everything is in
place, and completes an interrupted run.

First, a few short pods test whether nodes can pull the signer's image. If one cannot, enable changes
nothing. Then name a Secret for the registry (--pull-secret), or another registry (--registry).

Backends:
` + backendLines() + `

Enforcement: audit records the verdict in the condition SignedResultsVerified. enforce also fails a
TaskRun whose results do not verify, and removes its results. For a different mode in one namespace,
label it tekton-sign.dev/enforcement=audit or =enforce. To change the mode, run enable with another
--enforcement, edit the ConfigMap, or set the label. The change takes effect at once. Before enable turns
enforcement on, it shows how many TaskRuns are running unsigned. They will fail.

Policies: standard policies restrict who can obtain signing tokens, who can exempt a namespace from
enforcement, and which settings are valid. strict policies also restrict who can create, enter or imitate
a TaskRun's pod, who can create the parts of a PipelineRun, and who can write a status. By default, they
are strict in namespaces whose mode is enforce. --policies standard turns that off.

Some service accounts can request any token today, and will get only signing tokens once their namespace
signs results. The plan names them. --exempt-service-account exempts one.

Exactly one Tekton controller must run the TaskRuns of the namespaces in scope. If there is a second one,
enable stops. Tekton can run as a Deployment or as a StatefulSet. If the API server cannot reach the
add-on (port 8443), enable removes the webhooks again.

A setting that you do not name keeps its value in the cluster if the default could be weaker:
enforcement, policies, minimum format, kept material, the gate of Chains, exempt service accounts,
trusted controllers, pull secrets and the audience. All other settings return to their defaults,
including the namespaces. If enable cannot read the ConfigMap, you must name enforcement and policies.
The manifests of --output contain the flags' values, and nothing from the cluster.

Exit codes: 0 signing is on, 1 wrong usage or a failure, 2 the cluster is out of reach or a permission
is missing.`
}

// oneBackend checks the arguments: exactly one backend.
func oneBackend(cmd *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	var choices []string
	for _, d := range backends.Enabled() {
		choices = append(choices, fmt.Sprintf("%s %s %s", cmd.CommandPath(), d.Name, d.Summary))
	}
	return fmt.Errorf("expected one backend, got %d: %s", len(args), strings.Join(choices, "; "))
}

// backendLines lists the backends that this version can turn on, one on each line.
func backendLines() string {
	var lines []string
	for _, d := range backends.Enabled() {
		lines = append(lines, fmt.Sprintf("  %-16s %s", d.Name, d.Summary))
	}
	return strings.Join(lines, "\n")
}

func (o *enableOptions) run(ctx context.Context, e *env, f *pflag.FlagSet, backend string) error {
	request, err := o.request(f, backend)
	if err != nil {
		return err
	}
	if err := o.checkOutput(); err != nil {
		return err
	}
	onlyManifests := o.output != "" || o.render != ""
	if onlyManifests && o.tektonNamespace != "" { // needs nothing from the cluster
		return o.printManifests(e, request, enable.Environment{TektonNamespace: o.tektonNamespace})
	}
	clients, err := e.enableClients()
	if err != nil {
		return err
	}
	environment, err := enable.Inspect(ctx, clients.Kube, o.tektonNamespace)
	if err != nil {
		return clusterError(err)
	}
	if onlyManifests {
		return o.printManifests(e, request, environment)
	}
	plan, err := enable.PlanEnable(ctx, clients, environment, request)
	if err != nil {
		return clusterError(err)
	}
	return o.carryOut(ctx, e, clients, plan)
}

// request turns the flags into a request.
func (o *enableOptions) request(f *pflag.FlagSet, backend string) (enable.Request, error) {
	parsed, err := signing.ParseBackend(backend)
	if err != nil {
		return enable.Request{}, err
	}
	if parsed == signing.BackendNone {
		return enable.Request{}, fmt.Errorf("backend none turns signing off: use disable")
	}
	s, err := settings.FromFlags(parsed, func(field settings.Field) (string, bool) { return givenValue(f, field) })
	if err != nil {
		return enable.Request{}, err
	}
	if err := backends.Check(s); err != nil {
		return enable.Request{}, err
	}
	return enable.Request{
		Settings: s, Keep: notGiven(f), Registry: strings.TrimSuffix(o.registry, "/"), Version: version.Get().Version,
	}, nil
}

func (o *enableOptions) checkOutput() error {
	switch {
	case o.render != "" && (o.output != "" || o.change.dryRun != "none"):
		return fmt.Errorf("--render writes manifests and applies nothing: leave out --output and --dry-run")
	case o.output == "":
		return nil
	case o.output != "yaml" && o.output != "json":
		return fmt.Errorf("--output: expected yaml or json, got %q", o.output)
	case o.change.dryRun != "client":
		return fmt.Errorf("--output prints manifests and needs --dry-run=client")
	}
	return nil
}

func (o *enableOptions) printManifests(e *env, r enable.Request, environment enable.Environment) error {
	objects, err := r.Desired(environment)
	if err != nil {
		return err
	}
	switch {
	case o.render != "":
		if err := render(o.render, objects); err != nil {
			return err
		}
		fmt.Fprintf(e.ErrOut, "%d manifests are in %[2]s. Apply them with: kubectl apply -k %[2]s\n", len(objects),
			display.Safe(o.render))
		return nil
	case o.output == "json":
		return printJSONList(e.Out, objects)
	}
	return printYAML(e.Out, objects)
}

func printYAML(w io.Writer, objects []*unstructured.Unstructured) error {
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

// carryOut shows the plan. Then it applies it, unless this is a dry run or the user declines.
func (o *enableOptions) carryOut(ctx context.Context, e *env, c enable.Clients, plan enable.Plan) error {
	fmt.Fprintf(e.ErrOut, "Kubernetes %s, Tekton %s in namespace %s\n", display.Safe(plan.Environment.KubernetesVersion),
		display.Safe(orUnknown(plan.Environment.TektonVersion)), display.Safe(plan.Environment.TektonNamespace))
	fmt.Fprintf(e.ErrOut, "Signing: %s\n\n", signingText(plan.Settings))
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
%[2]s
  kubectl create -f a-taskrun.yaml
  %[1]s verify taskrun/NAME
Turn it off with: %[1]s disable
`, e.name, signingIsOn(plan.Settings))
	return nil
}

// signingIsOn describes what happens from now on.
func signingIsOn(s settings.Settings) string {
	if backends.Of(s.Backend).Signs {
		return "Signing is on. TaskRuns that start from now on are signed and verified:"
	}
	return "Verification is on. TaskRuns that end from now on are compared with their pods and recorded:"
}

// signingText describes the settings in one line.
func signingText(s settings.Settings) string {
	text := fmt.Sprintf("%s, %s, policies %s, %s", s.Backend, s.Enforcement, policiesText(s), s.Scope)
	backend := backends.Of(s.Backend)
	switch {
	case backends.Injects(s):
		text += fmt.Sprintf(", delivery %s, format %s", s.Delivery, s.Format)
	case backend.Signs:
		text += fmt.Sprintf(", Tekton's own signer, format %s", s.SignedFormat())
	}
	if backend.Tokens {
		text += fmt.Sprintf(", tokens bound to the %s", s.Binding)
	}
	return text
}

// warn prints the warnings of a plan.
func warn(e *env, plan enable.Plan) {
	for _, warning := range plan.Warnings {
		fmt.Fprintf(e.ErrOut, "\nwarning: %s\n", display.Safe(warning.Text))
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
	config.QPS, config.Burst = 50, 100 // a plan takes about fifty requests, and a person waits for it
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
