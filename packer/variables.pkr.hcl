variable "image" {
  type        = string
  description = "Name of the machine image, as in images.yml; the result is docker image <namespace>/<image>:latest."
  default     = "cpu-machine"
  validation {
    condition     = var.image != "" && regex_replace(var.image, "[a-z0-9.-]", "") == ""
    error_message = "The variable image must be lower-case letters, digits, dots and dashes."
  }
}

variable "namespace" {
  type        = string
  description = "Head of the name of the result in docker."
  default     = "bakehouse"
  validation {
    condition     = var.namespace != "" && regex_replace(var.namespace, "[a-z0-9.-]", "") == ""
    error_message = "The variable namespace must be lower-case letters, digits, dots and dashes."
  }
}

variable "root" {
  type        = string
  description = "Absolute path of the repository; empty: the folder above this one."
  default     = ""
}

variable "playbook" {
  type        = string
  description = "Playbook in playbooks/, without suffix: the roles that make the image; empty: the image's own, in images.yml."
  default     = ""
  validation {
    condition     = regex_replace(var.playbook, "[a-z0-9-]", "") == ""
    error_message = "The variable playbook must be the name of a file in playbooks/, without suffix."
  }
}

variable "playbook_file" {
  type        = string
  description = "Absolute path of a playbook elsewhere, which runs in place of var.playbook; empty: that one."
  default     = ""
  validation {
    condition     = var.playbook_file == "" || can(file(var.playbook_file))
    error_message = "The variable playbook_file must be the path of a file."
  }
}

variable "stack" {
  type        = string
  description = "Stack in stacks/, without suffix: the versions that go together; empty: the image's own, in images.yml."
  default     = ""
  validation {
    condition     = regex_replace(var.stack, "[a-z0-9-]", "") == ""
    error_message = "The variable stack must be the name of a file in stacks/, without suffix."
  }
}

variable "build" {
  type        = string
  description = "Id of the build, in the image's identity; `bakehouse` gives its own."
  default     = "packer"
}

variable "commit" {
  type        = string
  description = "Commit that the image is made from, in its identity; `bakehouse` gives it."
  default     = "unknown"
}

variable "judge" {
  type        = string
  description = "Program that looks at the machine when all roles but image_cleanup have run, called as ansible-playbook would be; if it fails there is no image. `bakehouse` gives its own; empty: nobody looks."
  default     = ""
}

variable "base_image" {
  type        = string
  description = "Docker image of a distribution with systemd; `bakehouse build debian-12-machine` makes it."
  default     = "bakehouse/debian-12-machine:latest"
  validation {
    condition     = var.base_image != ""
    error_message = "The variable base_image must name a docker image."
  }
}

variable "container" {
  type        = string
  description = "Name of the container in which the image is baked; empty: a new one each time."
  default     = ""
  validation {
    condition     = regex_replace(var.container, "[a-zA-Z0-9_.-]", "") == ""
    error_message = "The variable container must be letters, digits, dots, dashes and underscores."
  }
}

variable "owner" {
  type        = string
  description = "Value of the container's label org.bakehouse.owner, by which leftovers are found."
  default     = ""
}

variable "variables_file" {
  type        = string
  description = "JSON or YAML file with more Ansible variables; they win over the stack's."
  default     = ""
  validation {
    condition     = var.variables_file == "" || can(file(var.variables_file))
    error_message = "The variable variables_file must be the path of a file."
  }
}

variable "wheelhouse" {
  type        = string
  description = "Absolute path of a folder of verified wheels; empty: the one that `bakehouse build` has filled for the stack, or else the machine's own pip configuration."
  default     = ""
  validation {
    condition     = var.wheelhouse == "" || fileexists("${var.wheelhouse}/.complete")
    error_message = "The variable wheelhouse must be a folder that `bakehouse build` has filled."
  }
}

variable "host_configuration" {
  type        = string
  description = "Absolute path of a folder that is mounted at /run/bakehouse/host during the bake: this host's proxies and certificates."
  default     = ""
}

variable "environment" {
  type        = map(string)
  description = "Environment of Ansible's modules during the bake, such as APT_CONFIG; none of it stays in the image."
  default     = {}
}

variable "cgroup_mount" {
  type        = string
  description = "How systemd sees its control groups: read-only on version 1, read-write on version 2."
  default     = "/sys/fs/cgroup:/sys/fs/cgroup:ro"
  validation {
    condition     = regex_replace(var.cgroup_mount, "^/[^:]*:/sys/fs/cgroup:r[ow]$", "") == ""
    error_message = "The variable cgroup_mount must be <path>:/sys/fs/cgroup:ro or :rw."
  }
}

variable "labels" {
  type        = map(string)
  description = "Labels of the resulting image."
  default     = {}
}

variable "manifest" {
  type        = string
  description = "File to which Packer writes what it made; empty: out/<image>/packer-manifest.json."
  default     = ""
}
