// The page's words: English (as it stands in the code), Spanish, French.
export default `
0.1 s earlier, later|0,1 s antes, después|0,1 s plus tôt, plus tard
3 s back, on|3 s atrás, adelante|3 s en arrière, en avant
API key|Clave de la API|Clé d’API
Also what the server keeps of mine: uploads, jobs and cache|También lo mío que guarda el servidor: archivos, trabajos y caché|Aussi ce que le serveur garde de moi : fichiers, travaux et cache
Another program holds the microphone: close it and try again.|Otro programa usa el micrófono: ciérrelo e inténtelo de nuevo.|Un autre programme tient le micro : fermez-le et réessayez.
Begin|Empezar|Commencer
Being written|Escribiéndose|En cours d’écriture
Cancel|Cancelar|Annuler
Care|Esmero|Soin
Close|Cerrar|Fermer
Copied|Copiado|Copié
Copy|Copiar|Copier
Copy a link|Copiar un enlace|Copier un lien
Correct|Corregir|Corriger
Delete|Borrar|Supprimer
Done again: {what}|Hecho de nuevo: {what}|Refait : {what}
Doubtful words: {n}|Palabras dudosas: {n}|Mots douteux : {n}
Drop recordings here|Suelte aquí sus grabaciones|Déposez vos enregistrements
Edit|Editar|Modifier
Everything is forgotten.|Todo está olvidado.|Tout est oublié.
Export|Exportar|Exporter
Find|Buscar|Chercher
Find in all transcripts|Buscar en todas|Chercher partout
Forget|Olvidar|Oublier
Forget everything|Olvidarlo todo|Tout oublier
Forget everything?|¿Olvidarlo todo?|Tout oublier ?
Forget it|Olvidarla|L’oublier
Forget this transcript?|¿Olvidar esta transcripción?|Oublier cette transcription ?
Give a key|Dar una clave|Donner une clé
Go on|Seguir|Reprendre
Hear|Oír|Écouter
Hear again|Oír otra vez|Réentendre
Hear all again|Oírlo todo otra vez|Tout réentendre
Hear this passage again|Oír otra vez este pasaje|Réentendre ce passage
Heard before, taken from the cache|Ya oído, tomado de la caché|Déjà entendu, pris du cache
Hearing it|Oírlo|L’entendre
Hearing it again|Oyéndolo otra vez|Nouvelle écoute
Here it cost nothing but this server’s time.|Aquí no costó más que el tiempo de este servidor.|Ici, cela n’a coûté que le temps de ce serveur.
How loud it is|Volumen|Volume
Join|Unir|Joindre
Key|Clave|Clé
Keyboard|Teclado|Clavier
Language|Idioma|Langue
Language of this page|Idioma de esta página|Langue de cette page
Light or dark|Claro u oscuro|Clair ou sombre
Listen for {language}, write it down {task}, with {model}.|Escuchar {language}, escribirlo {task}, con {model}.|Écouter {language}, l’écrire {task}, avec {model}.
Loading the model|Cargar el modelo|Charger le modèle
Model|Modelo|Modèle
Move|Moverse|Se déplacer
Name|Nombre|Nom
Names and terms to listen for, separated by commas|Nombres y términos esperados, separados por comas|Noms et termes attendus, séparés par des virgules
Names, terms and speakers|Nombres, términos y hablantes|Noms, termes et locuteurs
Next|Siguiente|Suivant
No microphone was found: connect one and try again.|No hay micrófono: conecte uno e inténtelo de nuevo.|Aucun micro : branchez-en un et réessayez.
Nobody speaks in this recording, as far as was heard.|Nadie habla en esta grabación, por lo que se oyó.|Personne ne parle dans cet enregistrement, d’après l’écoute.
Nothing was heard there this time.|Esta vez no se oyó nada ahí.|Rien n’a été entendu là cette fois.
Nothing written here has these words.|Nada de lo escrito aquí tiene esas palabras.|Rien d’écrit ici ne contient ces mots.
On AWS Lambda it would be billed|En AWS Lambda se cobrarían|AWS Lambda facturerait
One speaker on each channel (a stereo call)|Un hablante por canal (llamada estéreo)|Un locuteur par canal (appel stéréo)
Pause|Pausa|Pause
Place in the recording|Punto de la grabación|Endroit de l’enregistrement
Play|Oír|Lire
Print|Imprimir|Imprimer
Progress of {name}|Avance de {name}|Avancement de {name}
Read|Leer|Lire
Reading the file|Leer el archivo|Lire le fichier
Recording|Grabación|Enregistrement
Recordings|Grabaciones|Enregistrements
Remove|Quitar|Retirer
Replace all|Reemplazar todo|Tout remplacer
Replace by|Reemplazar por|Remplacer par
Saved as {name}|Guardado como {name}|Enregistré sous {name}
Seconds, with a minus for earlier|Segundos; con menos, hacia atrás|Secondes ; avec moins, plus tôt
Several languages in one recording|Varios idiomas en una grabación|Plusieurs langues dans un enregistrement
Sheets|Hojas|Feuilles
Shift|Mover|Décaler
Shift times|Mover los tiempos|Décaler les temps
Single keys work, not only those with Ctrl|Valen teclas sueltas, no solo con Ctrl|Touches simples actives, pas seulement avec Ctrl
Speaker|Hablante|Locuteur
Speed|Velocidad|Vitesse
Split|Partir|Couper
Stop and keep|Parar y guardar|Arrêter et garder
Taken back: {what}|Deshecho: {what}|Annulé : {what}
Talk|Hablar|Parler
Talk, and read along|Hable y vaya leyendo|Parlez, et lisez
Task|Tarea|Tâche
Text of the line at {time}|Texto de la línea de {time}|Texte de la ligne à {time}
Text that goes before, for its style and spelling|Texto previo, por su estilo y ortografía|Texte qui précède, pour le style et l’orthographe
The answer ended early.|La respuesta se cortó.|La réponse s’est interrompue.
The microphone is gone. What was said is kept when you stop.|El micrófono se fue. Lo dicho se guarda cuando pare.|Le micro a disparu. Ce qui a été dit est gardé à l’arrêt.
The file is no longer here: add it again.|El archivo ya no está: añádalo otra vez.|Le fichier n’est plus là : ajoutez-le à nouveau.
The job failed.|El trabajo falló.|Le travail a échoué.
The job was cancelled.|El trabajo se canceló.|Le travail a été annulé.
The microphone cannot be used: {why}|El micrófono no se puede usar: {why}|Le micro est inutilisable : {why}
The receipt|El recibo|Le reçu
The recording is needed for this.|Para esto hace falta la grabación.|Il faut pour cela l’enregistrement.
The recording is not kept here. Choose it to hear it:|La grabación no está aquí. Elíjala para oírla:|L’enregistrement n’est pas ici. Choisissez-le pour l’entendre :
The request|La petición|La requête
The server answered {status}.|El servidor contestó {status}.|Le serveur a répondu {status}.
The server cannot be reached.|No se llega al servidor.|Le serveur est injoignable.
The server does not take live sound at the moment.|El servidor no acepta sonido en vivo ahora.|Le serveur n’accepte pas le son en direct pour l’instant.
The server refused this key: {why}|El servidor rechazó esta clave: {why}|Le serveur a refusé cette clé : {why}
There is nothing to take back.|No hay nada que deshacer.|Il n’y a rien à annuler.
This browser has no microphone to give.|Este navegador no tiene micrófono que dar.|Ce navigateur n’a pas de micro à donner.
This browser keeps nothing: export before you leave.|Este navegador no guarda nada: exporte antes de salir.|Ce navigateur ne garde rien : exportez avant de partir.
This line|Esta línea|Cette ligne
This server asks for a key. Whoever runs it makes one with “whisper-lambda keys add”.|Este servidor pide una clave. Quien lo lleva la crea con «whisper-lambda keys add».|Ce serveur demande une clé. Qui le tient en crée une avec « whisper-lambda keys add ».
This transcript is not in this browser|Esta transcripción no está en este navegador|Cette transcription n’est pas dans ce navigateur
To the content|Al contenido|Au contenu
To the others|A las demás|Vers les autres
Transcript|Transcripción|Transcription
Transcripts are kept where they were made.|Las transcripciones se guardan donde se hicieron.|Les transcriptions restent là où elles ont été faites.
Try again|Reintentar|Réessayer
Undo|Deshacer|Annuler
Use this key|Usar esta clave|Utiliser cette clé
Waited for its turn|Esperó su turno|A attendu son tour
What was said|Lo dicho|Ce qui a été dit
What you add goes to {host} and nowhere else. Transcripts and recordings are kept in this browser.|Lo que añade va a {host} y a ningún otro sitio. Transcripciones y grabaciones se guardan en este navegador.|Ce que vous ajoutez va à {host} et nulle part ailleurs. Transcriptions et enregistrements restent dans ce navigateur.
While editing|Al editar|En modifiant
Written|Escritas|Écrites
a job of the server, about to begin|un trabajo del servidor, por empezar|un travail du serveur, sur le point de commencer
a phrase models invent|una frase que los modelos inventan|une phrase que les modèles inventent
a table|una tabla|un tableau
all of the text|todo el texto|tout le texte
and all lines that follow|y todas las líneas siguientes|et toutes les lignes suivantes
and all that follow|y todas las siguientes|et toutes les suivantes
and would cost|y costaría|et coûterait
any language|cualquier idioma|toute langue
as spoken|como se dijo|comme c’est dit
as the system|como el sistema|comme le système
at the beginning: join|al principio: unir|au début : joindre
balanced|equilibrado|équilibré
choose some|elija algunas|choisissez-en
dark|oscuro|sombre
delete the line|borrar la línea|supprimer la ligne
do again|rehacer|refaire
done|listo|fini
done, next line|listo, línea siguiente|fini, ligne suivante
edit the line|editar la línea|modifier la ligne
everything, for programs|todo, para programas|tout, pour les programmes
failed|falló|échec
find and replace|buscar y reemplazar|chercher et remplacer
first, last line|primera, última línea|première, dernière ligne
follow along|seguir el texto|suivre le texte
for word processors|para procesadores de texto|pour traitements de texte
hear again|oír otra vez|réentendre
heard again with {model}|oído otra vez con {model}|réentendu avec {model}
in English|en inglés|en anglais
join with the next|unir con la siguiente|joindre à la suivante
karaoke|karaoke|karaoké
light|claro|clair
line by line|línea a línea|ligne par ligne
line deleted|línea borrada|ligne supprimée
line split|línea partida|ligne coupée
lines joined|líneas unidas|lignes jointes
listening|escuchando|écoute
lyrics|letra de canción|paroles
making it smaller, {n} %|haciéndola más pequeña, {n} %|réduction, {n} %
name the speaker|nombrar al hablante|nommer le locuteur
needs a key|necesita una clave|demande une clé
next doubtful word|siguiente palabra dudosa|mot douteux suivant
no speech|nadie habla|pas de parole
or {pick}, or {record}.|o {pick}, o {record}.|ou {pick}, ou {record}.
or {pick}, {record}, or {talk}.|o {pick}, {record}, o {talk}.|ou {pick}, {record}, ou {talk}.
plain text|texto sencillo|texte simple
play this line|oír esta línea|lire cette ligne
play, pause|oír, pausar|lire, pause
quick|rápido|rapide
reading|leyendo|lecture
record|grabe|enregistrez
repetition|repetición|répétition
sending, {n} %|enviando, {n} %|envoi, {n} %
silence|silencio|silence
slower, faster|más lento, más rápido|plus lent, plus vite
speaker named|hablante nombrado|locuteur nommé
split at the word|partir en la palabra|couper au mot
split here|partir aquí|couper ici
stop recording ({time})|pare la grabación ({time})|arrêtez ({time})
subtitles|subtítulos|sous-titres
subtitles for the web|subtítulos para la web|sous-titres pour le web
take back|deshacer|annuler
talk and read along|hable y vaya leyendo|parlez et lisez
text changed|texto cambiado|texte changé
the last words|las últimas palabras|les derniers mots
the server is busy; trying again|el servidor está ocupado; reintentando|le serveur est occupé ; nouvel essai
the usual model|el modelo habitual|le modèle habituel
thorough|minucioso|minutieux
times shifted|tiempos movidos|temps décalés
to the job on this server|al trabajo en este servidor|vers le travail sur ce serveur
too unsure|demasiado dudoso|trop incertain
waiting|en espera|en attente
waiting for the server to come back|esperando a que vuelva el servidor|en attendant le retour du serveur
wherever {name} speaks|siempre que hable {name}|partout où parle {name}
word by word|palabra a palabra|mot à mot
{done} of {all} heard|{done} de {all} oídos|{done} sur {all} entendus
{eta} to go|faltan {eta}|reste {eta}
{model} was asked for: {why}|Se pidió {model}: {why}|{model} était demandé : {why}
{name} failed: {why}|{name} falló: {why}|{name} a échoué : {why}
{name} is written.|{name} está escrita.|{name} est écrit.
{n} found|{n} halladas|{n} trouvés
{n} replaced|{n} reemplazadas|{n} remplacés
{n} s|{n} s|{n} s
{n} s left out: {why}|{n} s omitidos: {why}|{n} s omises : {why}
{part} of {all} passages|{part} de {all} pasajes|{part} passages sur {all}
{s} at {mb} MB|{s} con {mb} MB|{s} à {mb} Mo
Browsers give the microphone only to https pages and localhost. Open this page as https://…, or add a file.|Los navegadores solo dan el micrófono a páginas https y a localhost. Abra esta página como https://… o añada un archivo.|Les navigateurs ne donnent le micro qu’aux pages https et à localhost. Ouvrez cette page en https://…, ou ajoutez un fichier.
It goes from this browser, recordings too. What you exported stays.|Se borra de este navegador, con grabaciones. Lo exportado se queda.|Effacé de ce navigateur, enregistrements compris. Ce qui a été exporté reste.
The microphone was refused. Allow it beside the address, then try again.|Se negó el micrófono. Permítalo junto a la dirección e inténtelo de nuevo.|Le micro a été refusé. Autorisez-le près de l’adresse, puis réessayez.
Remember it on this device|Recordarla en este equipo|La retenir sur cet appareil
What this page asked, for a terminal or a program. The key is not in it.|Lo que pidió esta página, para una terminal o un programa. La clave no está.|Ce que cette page a demandé, pour un terminal ou un programme. Sans la clé.
The recording goes on; it is written down when you stop.|La grabación sigue; se escribirá cuando pare.|L’enregistrement continue ; il sera écrit à l’arrêt.
The connection broke. The recording goes on.|Se cortó la conexión. La grabación sigue.|La connexion est rompue. L’enregistrement continue.
This browser cannot cut this recording: hear all of it again.|Este navegador no puede cortarla: óigala toda otra vez.|Ce navigateur ne peut pas la couper : réentendez tout.
`;
