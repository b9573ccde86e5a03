// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/tektoncd/pipeline/pkg/apis/pipeline/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/cli-runtime/pkg/resource"
	"k8s.io/client-go/kubernetes"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/source"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

// input is a TaskRun with what is known of where it came from.
type input struct {
	taskRun *v1.TaskRun
	facts   verify.Facts
}

// inputs reads everything that was asked for. What cannot be read is an error beside the rest.
func (o *verifyOptions) inputs(ctx context.Context, e *env, args []string) ([]input, []error) {
	if len(args) > 0 {
		return liveInputs(ctx, e, args)
	}
	var inputs []input
	var errs []error
	for _, name := range o.files {
		items, err := readFile(e.In, name)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
			continue
		}
		for _, item := range items {
			if item.Err != nil {
				errs = append(errs, placed(name, item))
				continue
			}
			inputs = append(inputs, input{taskRun: item.TaskRun})
		}
	}
	return inputs, errs
}

func placed(name string, item source.Item) error {
	if item.Place != "" {
		name += ", " + item.Place
	}
	return fmt.Errorf("%s: %w", name, item.Err)
}

func readFile(stdin io.Reader, name string) ([]source.Item, error) {
	if name == "-" {
		return source.Read(stdin)
	}
	f, err := os.Open(name)
	if err != nil {
		var path *os.PathError
		if errors.As(err, &path) {
			err = path.Err // the name is said already
		}
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("is a folder: name its files")
	}
	return source.Read(f)
}

// liveInputs reads TaskRuns from the cluster, named as kubectl names objects, and looks at their pods.
func liveInputs(ctx context.Context, e *env, args []string) ([]input, []error) {
	if _, err := e.restConfig(); err != nil {
		return nil, []error{err}
	}
	kube, err := e.kube()
	if err != nil {
		return nil, []error{err}
	}
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, []error{explainCluster(err)}
	}
	objects := resource.NewBuilder(e.config).Unstructured().NamespaceParam(namespace).DefaultNamespace().
		ResourceTypeOrNameArgs(false, args...).ContinueOnError().Latest().Flatten().Do()
	if err := objects.Err(); err != nil && !isClusterError(err) {
		return nil, []error{fmt.Errorf("%w: name TaskRuns as taskrun/NAME", err)}
	}
	var inputs []input
	err = objects.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		in, err := liveInput(ctx, kube, info)
		if err != nil {
			return err
		}
		inputs = append(inputs, in)
		return nil
	})
	return inputs, explainEach(err, namespace)
}

// liveInput takes an object apart as strictly as one from a file.
func liveInput(ctx context.Context, kube kubernetes.Interface, info *resource.Info) (input, error) {
	kind := info.Object.GetObjectKind().GroupVersionKind()
	if kind.Kind != "TaskRun" || kind.Group != "tekton.dev" {
		return input{}, withExit(ExitError,
			fmt.Errorf("expected a TaskRun, got %s %q: name a TaskRun as taskrun/NAME", kind.Kind, info.Name))
	}
	object, ok := info.Object.(interface{ MarshalJSON() ([]byte, error) })
	if !ok {
		return input{}, fmt.Errorf("reading TaskRun %s/%s: unexpected type %T", info.Namespace, info.Name, info.Object)
	}
	data, err := object.MarshalJSON()
	if err != nil {
		return input{}, fmt.Errorf("reading TaskRun %s/%s: %w", info.Namespace, info.Name, err)
	}
	tr, err := source.Decode(data)
	if err != nil {
		return input{}, withExit(ExitError, err)
	}
	return input{taskRun: tr, facts: verify.Facts{Live: true, Pod: lookAtPod(ctx, kube, tr)}}, nil
}

// lookAtPod returns what the cluster says of the TaskRun's pod, nil if it does not say.
func lookAtPod(ctx context.Context, kube kubernetes.Interface, tr *v1.TaskRun) *verify.PodFacts {
	if tr.Status.PodName == "" {
		return nil
	}
	pod, err := kube.CoreV1().Pods(tr.Namespace).Get(ctx, tr.Status.PodName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return &verify.PodFacts{}
	}
	if err != nil {
		return nil // not allowed to look: verification stands without
	}
	facts := &verify.PodFacts{Found: true, UID: pod.UID}
	if owner := metav1.GetControllerOf(pod); owner != nil {
		facts.ControllerUID = owner.UID
	}
	return facts
}

// explainEach takes the errors of a visit apart and gives each its exit code and next step.
func explainEach(err error, namespace string) []error {
	if err == nil {
		return nil
	}
	var aggregate utilerrors.Aggregate
	if !errors.As(err, &aggregate) {
		aggregate = utilerrors.NewAggregate([]error{err})
	}
	var errs []error
	for _, err := range utilerrors.Flatten(aggregate).Errors() {
		if apierrors.IsNotFound(err) {
			err = fmt.Errorf("%w in namespace %q: see kubectl get taskruns -n %s", err, namespace, namespace)
		}
		errs = append(errs, explainCluster(err))
	}
	return errs
}

// trust returns the cluster whose keys to verify with, and says where they come from.
func (o *verifyOptions) trust(ctx context.Context, e *env, live bool) (*trust.Cluster, *report.Trust, error) {
	if o.trustBundle == "" {
		return o.liveTrust(ctx, e)
	}
	data, err := os.ReadFile(o.trustBundle)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the trust bundle: %w", err)
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	choice := o.cluster
	if choice == "" && live {
		if choice, err = e.clusterUID(ctx, bundle); err != nil {
			return nil, nil, err
		}
	}
	cluster, err := bundle.Cluster(choice)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", o.trustBundle, err)
	}
	return cluster, &report.Trust{
		Source: report.SourceFile, Path: o.trustBundle, SHA256: trust.SHA256(data), Cluster: clusterRef(cluster),
	}, nil
}

// clusterUID returns the UID of the cluster that the TaskRuns were read from. Where that may not be read, a bundle with a
// single cluster leaves no choice.
func (e *env) clusterUID(ctx context.Context, bundle *trust.Bundle) (string, error) {
	kube, err := e.kube()
	if err != nil {
		return "", err
	}
	uid, err := trust.FetchUID(ctx, kube.CoreV1().RESTClient())
	if apierrors.IsForbidden(err) && len(bundle.Clusters) == 1 {
		return "", nil
	}
	return uid, explainCluster(err)
}

func (o *verifyOptions) liveTrust(ctx context.Context, e *env) (*trust.Cluster, *report.Trust, error) {
	if o.cluster != "" {
		return nil, nil, fmt.Errorf("--cluster chooses a cluster of a trust bundle: it needs --trust-bundle FILE")
	}
	cluster, err := e.fetchTrust(ctx, "")
	if apierrors.IsForbidden(err) {
		err = withExit(ExitIndeterminate, fmt.Errorf("%w, or for a trust bundle to pass with --trust-bundle FILE", err))
	}
	if err != nil {
		return nil, nil, err
	}
	return cluster, &report.Trust{Source: report.SourceCluster, Cluster: clusterRef(cluster)}, nil
}

// fetchTrust reads the keys of the kubeconfig's cluster, with its trust history. Without a name it is called as the kubeconfig
// calls it.
func (e *env) fetchTrust(ctx context.Context, name string) (*trust.Cluster, error) {
	cluster, _, err := e.fetchKnownKeys(ctx, name)
	return cluster, err
}

// clusterName is how the kubeconfig calls the cluster in use.
func (e *env) clusterName() string {
	raw, err := e.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return ""
	}
	current := raw.CurrentContext
	if e.config.Context != nil && *e.config.Context != "" {
		current = *e.config.Context
	}
	if c := raw.Contexts[current]; c != nil {
		return c.Cluster
	}
	return ""
}

func clusterRef(c *trust.Cluster) verify.ClusterRef {
	return verify.ClusterRef{Name: c.Name, UID: c.UID}
}
