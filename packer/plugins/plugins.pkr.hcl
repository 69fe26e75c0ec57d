# For Packer 1.7 and newer: `packer init packer/plugins`. Debian's 1.6.6 has these plugins built in,
# rejects this block, and does not look into sub-directories.
packer {
  required_plugins {
    amazon = {
      version = "1.8.0"
      source  = "github.com/hashicorp/amazon"
    }
    docker = {
      version = "1.1.2"
      source  = "github.com/hashicorp/docker"
    }
    qemu = {
      version = "1.1.3"
      source  = "github.com/hashicorp/qemu"
    }
    ansible = {
      version = "1.1.4"
      source  = "github.com/hashicorp/ansible"
    }
  }
}
