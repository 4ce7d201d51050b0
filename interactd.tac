# twistd -ny interactd.tac: the configuration is /etc/interactd/interactd.conf and INTERACTD_… in the environment.
from twisted.application.service import Application

from interactd.service import Options, makeService

application = Application("interactd")
makeService(Options()).setServiceParent(application)
