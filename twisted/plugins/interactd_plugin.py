from twisted.application.service import ServiceMaker

interactd = ServiceMaker("interactd", "interactd.service", "Interaction events in, the right devices know at once.", "interactd")
