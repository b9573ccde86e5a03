// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata"

	"github.com/tekton-sign/kubectl-tekton-sign/internal/display"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/report"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/runs"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/signing"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/verify/trust"
)

const (
	completionTimeout = 3 * time.Second // a person waits at the prompt
	maxCompletions    = 500
)

// completeRuns completes the names of TaskRuns, or of PipelineRuns if the word begins with that type. A shell does not
// show errors, so without a cluster there are no completions.
func (e *env) completeRuns(cmd *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	plural, prefix := runs.TaskRuns, "taskrun/"
	switch typed, _, named := strings.Cut(toComplete, "/"); {
	case typed == "pipelinerun" || typed == "pr":
		plural, prefix = runs.PipelineRuns, typed+"/"
	case named && typed == "tr":
		prefix = "tr/"
	}
	namespace, _, err := e.config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	names := e.completeNames(cmd, runs.Resource(plural), namespace, prefix, args, toComplete)
	const other = "pipelinerun/"
	if typed := len(toComplete); typed > 0 && typed <= len(other) && other[:typed] == toComplete {
		return append(names, other), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}

// completeNames returns the names of a kind of object, with a prefix, that the word begins and no argument has yet.
func (e *env) completeNames(cmd *cobra.Command, of schema.GroupVersionResource, namespace, prefix string, args []string,
	toComplete string) (names []string) {
	for _, name := range e.names(cmd, of, namespace) {
		name = prefix + name
		if strings.HasPrefix(name, toComplete) && !slices.Contains(args, name) {
			names = append(names, name)
		}
	}
	return names
}

// names returns the names of a kind of object, or none if the cluster does not answer in time.
func (e *env) names(cmd *cobra.Command, of schema.GroupVersionResource, namespace string) []string {
	config, err := e.restConfig()
	if err != nil {
		return nil
	}
	config.Timeout = completionTimeout
	client, err := metadata.NewForConfig(config)
	if err != nil {
		return nil
	}
	list, err := client.Resource(of).Namespace(namespace).List(cmd.Context(), metav1.ListOptions{Limit: maxCompletions})
	if err != nil {
		return nil
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = display.Safe(list.Items[i].Name)
	}
	return names
}

// completeVerifyFlags adds completions for the flags of verify that have guessable values.
func completeVerifyFlags(cmd *cobra.Command) {
	const noFiles = cobra.ShellCompDirectiveNoFileComp
	for flag, complete := range map[string]cobra.CompletionFunc{
		"output":            completeFormats,
		"minimum-format":    cobra.FixedCompletions(texts(signing.Formats()), noFiles),
		"minimum-assurance": cobra.FixedCompletions(texts(signing.Assurances()), noFiles),
		"audience":          completeAudience,
		"token-lifetime":    cobra.FixedCompletions([]string{"10m", "30m", "1h"}, noFiles),
		"clock-skew":        cobra.FixedCompletions([]string{"30s", "300s", "10m"}, noFiles),
		"trust-bundle":      cobra.FixedCompletions([]string{"json"}, cobra.ShellCompDirectiveFilterFileExt),
		"filename": cobra.FixedCompletions([]string{"json", "jsonl", "ndjson", "yaml", "yml", "gz"},
			cobra.ShellCompDirectiveFilterFileExt),
		"trust-bundle-sha256":  completeSHA256,
		"trust-bundle-cluster": completeClusters,
		"selector":             cobra.NoFileCompletions,
	} {
		_ = cmd.RegisterFlagCompletionFunc(flag, complete) // fails only for an unknown flag, and a test checks that
	}
}

// completeFormats completes output formats, without a space because some take a value.
func completeFormats(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return report.Formats(), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}

// bundleOf returns the trust bundle that the same command line names.
func bundleOf(cmd *cobra.Command) ([]byte, *trust.Bundle) {
	name, err := cmd.Flags().GetString("trust-bundle")
	if err != nil || name == "" {
		return nil, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, nil
	}
	bundle, err := trust.Parse(data)
	if err != nil {
		return nil, nil
	}
	return data, bundle
}

// completeSHA256 offers the digest of the bundle as it is now.
func completeSHA256(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	data, bundle := bundleOf(cmd)
	if bundle == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return []string{trust.SHA256(data)}, cobra.ShellCompDirectiveNoFileComp
}

func completeClusters(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	_, bundle := bundleOf(cmd)
	if bundle == nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var names []string
	for i := range bundle.Clusters {
		names = append(names, display.Safe(cmp.Or(bundle.Clusters[i].Name, bundle.Clusters[i].UID)))
	}
	return names, cobra.ShellCompDirectiveNoFileComp
}
