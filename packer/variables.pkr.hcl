variable "image" {
  type        = string
  description = "Name of the machine image, as in images.yml; the result is docker image bakehouse/<image>:latest."
  default     = "cpu-machine"
  validation {
    condition     = can(regex("^[a-z0-9]+([.-][a-z0-9]+)*$", var.image))
    error_message = "The variable image must be lower-case letters, digits, dots and dashes."
  }
}

variable "playbook" {
  type        = string
  description = "Playbook in playbooks/, without suffix: the roles that make the image."
  default     = "cpu"
  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.playbook))
    error_message = "The variable playbook must be the name of a file in playbooks/, without suffix."
  }
}

variable "stack" {
  type        = string
  description = "Stack in stacks/, without suffix: the versions that go together."
  default     = "cpu"
  validation {
    condition     = can(regex("^[a-z0-9-]+$", var.stack))
    error_message = "The variable stack must be the name of a file in stacks/, without suffix."
  }
}

variable "base_image" {
  type        = string
  description = "Docker image of a distribution with systemd; `bakehouse build debian-12-machine` makes it."
  default     = "bakehouse/debian-12-machine:latest"
}

variable "container" {
  type        = string
  description = "Name of the container in which the image is baked; two bakes at once need two names."
  default     = "bakehouse-packer"
}

variable "owner" {
  type        = string
  description = "Value of the container's label org.bakehouse.owner, by which leftovers are found."
  default     = ""
}

variable "variables_file" {
  type        = string
  description = "JSON or YAML file with more Ansible variables, such as those of the role image_info."
}

variable "wheelhouse" {
  type        = string
  description = "Folder of verified wheels that is mounted at /srv; `bakehouse build` fills it."
}

variable "cgroup_mount" {
  type        = string
  description = "How systemd sees its control groups: read-only on version 1, read-write on version 2."
  default     = "/sys/fs/cgroup:/sys/fs/cgroup:ro"
}

variable "labels" {
  type        = map(string)
  description = "Labels of the resulting image."
  default     = {}
}

variable "manifest" {
  type        = string
  description = "File to which Packer writes what it made."
}
