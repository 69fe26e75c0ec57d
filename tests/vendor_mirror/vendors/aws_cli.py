"""The AWS CLI's archive: `aws/install` and `aws/dist`, and links as AWS's installer makes them.

Options, links and the refusal without --update:
https://docs.aws.amazon.com/cli/latest/userguide/getting-started-install.html
"""

from vendor_mirror.offer import Files, Package, Release, program

_INSTALL = """\
folder=/usr/local/aws-cli; bin=/usr/local/bin; update=no
while [ $# -gt 0 ]; do
  case "$1" in
    -i | --install-dir) folder=$2; shift ;;
    -b | --bin-dir) bin=$2; shift ;;
    -u | --update) update=yes ;;
    *) echo "Unknown option: $1" >&2; exit 1 ;;
  esac
  shift
done
here=$(dirname "$0")
version=$("$here/dist/aws" --version | sed 's:aws-cli/::; s: .*::')
if [ -e "$folder/v2/current" ] && [ $update = no ]; then
  echo "Found preexisting AWS CLI installation: $folder/v2/current. Please rerun with --update." >&2
  exit 1
fi
if [ -d "$folder/v2/$version" ]; then echo "Found same AWS CLI version. Skipping."; exit 0; fi
mkdir -p "$folder/v2/$version/bin" "$bin"
cp -r "$here/dist" "$folder/v2/$version/"
for name in aws aws_completer; do
  ln -s "../dist/$name" "$folder/v2/$version/bin/$name"
  ln -sfn "$folder/v2/current/bin/$name" "$bin/$name"
done
ln -sfn "$folder/v2/$version" "$folder/v2/current"
"""


def archive(release: Release) -> Files:
    """The tree in the archive of an architecture."""
    says = f"aws-cli/{release.version} Python/3.14.2 Linux/6.1.0 exe/{release.architecture}"
    return {
        "aws/install": program(_INSTALL),
        "aws/dist/aws": program(f"echo '{says}'"),
        "aws/dist/aws_completer": program("echo s3"),
    }


def distribution(release: Release) -> list[Package]:
    """What Amazon Linux has; the program itself is in the image that stands in for it."""
    return [Package(name="unzip", version="6.0")] if release.family == "dnf" else []
