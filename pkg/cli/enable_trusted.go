// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"

	"github.com/spf13/pflag"

	"github.com/tekton-sign/kubectl-tekton-sign/pkg/enable"
	"github.com/tekton-sign/kubectl-tekton-sign/pkg/settings"
)

// Flags of enable that name whom the policies trust beside Tekton.
const (
	flagExempt     = "exempt-service-account"
	flagManagedBy  = "managed-by"
	flagCustomRuns = "custom-run-controller"
)

// trustedOptions name whom the policies trust beside Tekton. What is not given stays as it is.
type trustedOptions struct {
	exempt, managedBy, customRuns                []string
	exemptGiven, managedByGiven, customRunsGiven bool
}

func (o *trustedOptions) addFlags(f *pflag.FlagSet) {
	f.StringSliceVar(&o.exempt, flagExempt, nil,
		"service account (namespace/name) that may go on requesting tokens of any audience; repeatable")
	f.StringSliceVar(&o.managedBy, flagManagedBy, nil,
		"value of spec.managedBy that is admitted where results are enforced, beside Tekton's own; repeatable")
	f.StringSliceVar(&o.customRuns, flagCustomRuns, nil,
		"service account (namespace/name) of a custom task's controller, which writes the status of CustomRuns; repeatable")
}

func (o *trustedOptions) given(f *pflag.FlagSet) {
	o.exemptGiven, o.managedByGiven, o.customRunsGiven = f.Changed(flagExempt), f.Changed(flagManagedBy), f.Changed(flagCustomRuns)
}

// keep says what stays as the cluster has it.
func (o *trustedOptions) keep(k *enable.Kept) {
	k.Exempt, k.ManagedBy, k.CustomRuns = !o.exemptGiven, !o.managedByGiven, !o.customRunsGiven
}

func (o *trustedOptions) set(s *settings.Settings) (err error) {
	if s.Exempt, err = parseEach(flagExempt, o.exempt, settings.ParseAccount); err != nil {
		return err
	}
	if s.CustomRunControllers, err = parseEach(flagCustomRuns, o.customRuns, settings.ParseAccount); err != nil {
		return err
	}
	s.ManagedBy, err = parseEach(flagManagedBy, o.managedBy, settings.ParseManager)
	return err
}

// parseEach reads each value of a flag.
func parseEach[T any](flag string, values []string, parse func(string) (T, error)) ([]T, error) {
	var all []T
	for _, value := range values {
		parsed, err := parse(value)
		if err != nil {
			return nil, fmt.Errorf("--%s: %w", flag, err)
		}
		all = append(all, parsed)
	}
	return all, nil
}
