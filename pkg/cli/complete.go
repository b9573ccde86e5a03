// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
)

const (
	completionTimeout = 3 * time.Second // a person waits at the prompt
	maxCompletions    = 500
)

// completeTaskRuns offers the TaskRuns of the namespace. A shell shows no errors: without a cluster there is no offer.
func (e *env) completeTaskRuns(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	prefix := "taskrun/"
	if strings.HasPrefix(toComplete, "tr/") {
		prefix = "tr/"
	}
	config, err := e.restConfig()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	config.Timeout = completionTimeout
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	taskRuns := schema.GroupVersionResource{Group: "tekton.dev", Version: "v1", Resource: "taskruns"}
	list, err := client.Resource(taskRuns).Namespace(namespace).List(cmd.Context(), metav1.ListOptions{Limit: maxCompletions})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range list.Items {
		name := prefix + report.Safe(list.Items[i].Name)
		if strings.HasPrefix(name, toComplete) && !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
