"""Training, from a YAML to checkpoints; modules in the order in which a run passes through them.

config, vlm_config        the schema of config/train/
accelerator               which processes and which device; what does not fit is refused before anything is read
run_folder                begin a run, or go on with it
data                      demonstrations, read, checked and split (questions: vlm_data, vlm_questions, vlm_prompt)
build, vlm_build          the model
policy_task               a policy as a task: policy_module, objectives, policy_batches
vlm_task                  a vision-language model as a task: vlm_actions, vlm_data, vlm_validation
loop                      updates of the weights of any task: batches, optimization, figures, interruption
saving -> checkpoint      its state on disk
reporting -> curves       what a person sees of it: window, throughput, flops
memory                    `--plan`: parallel, sharding, shapes, activations
upstream_run              a run that is made of weights of the authors' code
"""
