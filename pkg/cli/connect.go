// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/rest"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/kubeclient"
)

// offlineHint is the next step for users without a cluster.
const offlineHint = "verify offline with -f FILE --trust-bundle FILE"

// How many requests a second the plugin makes on average, and at once. The API server's own fairness is the limit that
// counts; client-go's default of 5 is meant for controllers.
const (
	clientQPS   = 200
	clientBurst = 400
)

// kube returns a client for the cluster of the kubeconfig.
func (e *env) kube() (kubeclient.Interface, error) {
	config, err := e.restConfig()
	if err != nil {
		return nil, err
	}
	client, err := kubeclient.New(config)
	if err != nil {
		return nil, fmt.Errorf("connecting to the cluster: %w", err)
	}
	return client, nil
}

// restConfig returns how to reach the cluster. Without any configuration client-go would try localhost:8080, and its
// error would not name what is missing.
func (e *env) restConfig() (*rest.Config, error) {
	raw, err := e.config.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, withExit(ExitIndeterminate, fmt.Errorf("reading the kubeconfig: %w", err))
	}
	noServer := e.config.APIServer == nil || *e.config.APIServer == ""
	if len(raw.Clusters) == 0 && noServer {
		if _, err := rest.InClusterConfig(); err != nil {
			return nil, withExit(ExitIndeterminate, fmt.Errorf("no kubeconfig names a cluster: "+
				"set KUBECONFIG or --kubeconfig, or %s", offlineHint))
		}
	}
	config, err := e.config.ToRESTConfig()
	if err != nil {
		return nil, withExit(ExitIndeterminate, fmt.Errorf("reading the kubeconfig: %w", err))
	}
	config.WarningHandler = rest.NoWarnings{}
	config.QPS, config.Burst = clientQPS, clientBurst
	return config, nil
}

// checkCluster refuses kubectl's flag --cluster where everything comes from files: the user means a cluster of the
// trust bundle.
func (e *env) checkCluster(fromFiles bool) error {
	if fromFiles && e.config.ClusterName != nil && *e.config.ClusterName != "" {
		return fmt.Errorf("--cluster names a cluster of the kubeconfig, which is not used here: " +
			"choose a cluster of the trust bundle with --trust-bundle-cluster")
	}
	return nil
}

// explainCluster adds an exit code and a next step to an error of the API server or of the network.
func explainCluster(err error) error {
	var coded *exitError
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case apierrors.IsForbidden(err):
		return withExit(ExitIndeterminate, fmt.Errorf("%w: ask a cluster administrator for that permission", err))
	case apierrors.IsUnauthorized(err):
		return withExit(ExitIndeterminate,
			fmt.Errorf("the cluster does not know you: %w: log in again, or check the user of "+
				"your kubeconfig's context", err))
	case apierrors.IsNotFound(err):
		return withExit(ExitIndeterminate, err)
	case kubeclient.IsNetworkError(err):
		return withExit(ExitIndeterminate,
			fmt.Errorf("the cluster is out of reach: %w: check the server of your kubeconfig's "+
				"context, or %s", err, offlineHint))
	}
	return withExit(ExitIndeterminate, err)
}
